"""Connections: oslo.db's engines, with the SQLite settings that let many threads and processes write."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy import event

from glance_flows import errors, lease, sessions

T = TypeVar("T")

_WRITING: ContextVar[bool] = ContextVar("glance_flows_writing", default=False)
_SQLITE_BUSY_MS = 30_000
#: How MySQL says that a character needs more bytes than the table's character set has.
_CANNOT_HOLD = "Incorrect string value"

#: Failures after which the same transaction may succeed when tried again.
TRANSIENT = (db_exception.DBDeadlock, db_exception.DBConnectionError)


def _is_transient(failure: BaseException) -> bool:
    if isinstance(failure, TRANSIENT):
        return True
    return isinstance(failure, sa.exc.OperationalError) and "database is locked" in str(failure)


class _Unsure(Exception):
    """A transaction took so long that the run it is for may be another process's by now."""


#: Wraps a whole transaction: a deadlock or a lost connection is tried again, a little later each time.
retried = tenacity.retry(
    retry=tenacity.retry_if_exception(_is_transient),
    wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
    stop=tenacity.stop_after_attempt(8),
    reraise=True,
)


def _tune_sqlite(engine: sa.Engine) -> None:
    """Make SQLite wait for a lock, and take the write lock at BEGIN rather than at the first write.

    A transaction that begins by reading and then writes cannot wait for another writer: SQLite fails it at once.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={_SQLITE_BUSY_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def begin(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> tuple[str, Any]:
        if statement == "BEGIN" and _WRITING.get():
            statement = "BEGIN IMMEDIATE"
        return statement, parameters


class Engine:
    """Opens transactions on one database.

    :param conf: a configuration whose ``[database]`` section names the database; where the database can do so, it ends
        a session that stands still within a transaction for ``[glance_flows] lease_seconds``
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        if not conf.database.connection:
            raise errors.ConfigurationError("[database] connection is not set: there is no database to work on.")
        self._manager = enginefacade.transaction_context()
        self._manager.configure(
            connection=_with_every_character(conf.database.connection),
            max_pool_size=conf.database.max_pool_size,
            max_overflow=conf.database.max_overflow,
            max_retries=0,
        )
        self._manager.append_on_engine_create(_tune_sqlite)
        silent = conf.glance_flows.lease_seconds
        self._manager.append_on_engine_create(lambda engine: sessions.end_silent(engine, silent))
        self._manager.append_on_engine_create(lambda engine: sessions.end_frozen(engine, silent))

    @property
    def engine(self) -> sa.Engine:
        """The SQLAlchemy engine, for reflection and migrations.

        :raises DatabaseError: the database cannot be reached
        """
        with translated():
            engine: sa.Engine = self._manager.writer.get_engine()
        return engine

    def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Call ``query`` with a connection in a read transaction and return its result.

        :raises DatabaseError: the database cannot be reached or read
        """
        with translated():
            return retried(self._read)(query)

    def write(self, change: Callable[[sa.Connection], T]) -> T:
        """Call ``change`` with a connection in one write transaction and return its result.

        Leaving commits, an exception rolls back. After a deadlock or a lost connection all of ``change`` is called
        again, so it must not have effects outside the database. A connection can be lost at the very end: then nobody
        knows whether the transaction took place, and ``change`` must see what it did before and return the same. What
        is tried again and again may be a run's that another process took over meanwhile: it is committed on the
        strength of a lease, or not at all.

        :raises DatabaseError: the database cannot be reached or written
        :raises LockLost: the run that this thread works on is another process's by now
        """
        token = _WRITING.set(True)
        try:
            while True:
                try:
                    with translated():
                        return retried(self._write)(change)
                except _Unsure:
                    lease.sure()  # not within the transaction: it writes, too, and may need what is locked there
        finally:
            _WRITING.reset(token)

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        with self._manager.reader.connection.using(_Context()) as connection:
            return query(connection)

    def _write(self, change: Callable[[sa.Connection], T]) -> T:
        with self._manager.writer.connection.using(_Context()) as connection:
            result = change(connection)
            relied_on = lease.current()
            if relied_on is not None and not relied_on.young:
                raise _Unsure
            return result

    def dispose(self) -> None:
        """Close every connection."""
        self._manager.dispose_pool()


def _with_every_character(connection: str) -> str:
    """Let MySQL take every character in a name, and PostgreSQL the driver there is, where the URL leaves it open.

    oslo.db asks for ``utf8``, in which MySQL refuses what lies beyond three bytes; tables made with that character set
    are read and written as before.

    :raises ConfigurationError: it is no URL
    """
    try:
        url = sa.make_url(connection)
    except sa.exc.ArgumentError as failure:
        raise errors.ConfigurationError("[database] connection is not the URL of a database.") from failure
    if url.drivername == "postgresql" and importlib.util.find_spec("psycopg") is None:
        # Which driver a bare name means differs between SQLAlchemy's releases; the one that is there will do.
        url = url.set(drivername="postgresql+psycopg2")
    if url.get_backend_name() == "mysql" and "charset" not in url.query:
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise what goes wrong with the database as our own errors.

    :raises ConfigurationError: the Python package that speaks to this kind of database is not installed
    """
    try:
        yield
    except ModuleNotFoundError as failure:
        raise errors.ConfigurationError(
            f"[database] connection needs the Python package {failure.name}, which is not installed."
        ) from failure
    except (db_exception.DBError, sa.exc.SQLAlchemyError) as failure:
        told = describe(failure)
        if _CANNOT_HOLD in str(told):
            raise errors.BadRequest("the tables cannot hold a character of this text, such as an emoji.") from failure
        raise told from failure


class _Context:
    """What oslo.db hangs the transaction of one thread on."""


def describe(failure: Exception) -> errors.DatabaseError:
    """Return one sentence about a failure of the database, without the statement and its parameters."""
    cause = getattr(failure, "orig", None) or getattr(failure, "inner_exception", None) or failure
    cause = getattr(cause, "orig", None) or cause
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return errors.DatabaseError(f"the database could not be used: {lines[0]}")
