"""Sessions of a database that stand still in a transaction: the database ends them, with the locks that they hold.

A process that is stopped (by a debugger, a full disk below its log, a virtual machine that is moved) between two
statements keeps the locks of its transaction, and everybody else waits for it. Nobody but the database can end that.
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


def _tell_postgresql(cursor: Any, seconds: int) -> None:
    cursor.execute(f"SET SESSION idle_in_transaction_session_timeout = {int(seconds) * 1000}")


def _tell_mariadb(cursor: Any, seconds: int) -> None:
    cursor.execute("SHOW VARIABLES LIKE 'idle_transaction_timeout'")
    if cursor.fetchone() is not None:
        cursor.execute(f"SET SESSION idle_transaction_timeout = {int(seconds)}")
