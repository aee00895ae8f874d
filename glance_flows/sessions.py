"""Sessions of a database that nobody should wait for: one that stands still, and one whose server is not to be seen.

A process that is stopped (by a debugger, a full disk below its log, a virtual machine that is moved) between two
statements keeps the locks of its transaction, and everybody else waits for it. Nobody but the database can end that.
A process that is cut off from its database, on the other hand, would wait for an answer for as long as the system does,
a quarter of an hour or for ever.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def end_frozen(engine: sa.Engine, seconds: int) -> None:
    """Have the database end each session of an engine that stands still within a transaction (C25).

    The process finds its connection lost when it goes on. PostgreSQL and MariaDB can do it; MySQL and SQLite cannot,
    and are left as they are.

    :param engine: connections that it has made so far are closed
    :param seconds: how long a session may stand still
    """
    settings = {"postgresql": _tell_postgresql, "mysql": _tell_mariadb, "mariadb": _tell_mariadb}
    tell = settings.get(engine.dialect.name)
    if tell is None:
        return

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        try:
            tell(cursor, seconds)
        finally:
            cursor.close()
        # PostgreSQL takes a setting back with the transaction that made it.
        connection.commit()

    engine.dispose()


def end_silent(engine: sa.Engine, seconds: int) -> None:
    """Have a connection fail whose server does not answer for about so long, where the driver can do that (F5).

    What the URL says counts more.

    :param engine: connections that it makes from now on
    :param seconds: how long a server may be silent; statements that take longer are waited for where the driver can
        tell them from a network that is down (psycopg), and given a minute more where it cannot (PyMySQL, mysqlclient)
    """
    third = max(1, seconds // 3)
    keepalives = {"keepalives_idle": third, "keepalives_interval": third, "keepalives_count": 2}
    libpq = {"connect_timeout": max(2, third), **keepalives, "tcp_user_timeout": seconds * 1000}
    mysql = {"connect_timeout": max(2, third), "read_timeout": seconds + 60, "write_timeout": seconds + 60}
    wanted = {"psycopg2": libpq, "psycopg": libpq, "pymysql": mysql, "mysqldb": mysql}.get(engine.dialect.driver, {})

    @event.listens_for(engine, "do_connect")
    def connecting(dialect: Any, record: Any, words: list[Any], options: dict[str, Any]) -> None:
        options.update({name: value for name, value in wanted.items() if name not in options})


def _tell_postgresql(cursor: Any, seconds: int) -> None:
    cursor.execute(f"SET SESSION idle_in_transaction_session_timeout = {int(seconds) * 1000}")


def _tell_mariadb(cursor: Any, seconds: int) -> None:
    cursor.execute("SHOW VARIABLES LIKE 'idle_transaction_timeout'")
    if cursor.fetchone() is not None:
        cursor.execute(f"SET SESSION idle_transaction_timeout = {int(seconds)}")
