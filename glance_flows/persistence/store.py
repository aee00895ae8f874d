"""Where flows keep their state: taskflow's own tables, on a database of their own, tuned for many small writes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from oslo_config import cfg
from oslo_serialization import jsonutils
from sqlalchemy import event, pool
from taskflow import exceptions as taskflow_exceptions
from taskflow import states as taskflow_states
from taskflow import storage as taskflow_storage
from taskflow.persistence import models

from glance_flows import errors, sessions
from glance_flows.persistence.book import Book
from glance_flows.persistence.postings import Conductors, Postings
from glance_flows.persistence.records import Records, metadata

_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000")


class Persistence:
    """The state of flows.

    :param url: of its database
    :param lease: seconds after which the database ends a session that stands still within a transaction, where it can
    """

    def __init__(self, url: str, lease: int) -> None:
        self.url = url
        try:
            self._engine = _engine(url)
            sessions.end_silent(self._engine, lease)
            sessions.end_frozen(self._engine, lease)
        except (sa.exc.SQLAlchemyError, ImportError) as failure:
            raise errors.ConfigurationError(
                f"[glance_flows] persistence_connection: {errors.redact(str(failure))}"
            ) from failure
        self.records = Records(self._engine)
        self.postings = Postings(self.records)
        self.conductors = Conductors(self.records)
        self._checked = False

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """Return the persistence that is configured; by default an SQLite file below ``state_path``.

        :raises ConfigurationError: it is Glance's own database (D3)
        """
        own = conf.glance_flows
        url = own.persistence_connection or f"sqlite:///{Path(own.state_path).absolute()}/flows.sqlite"
        if url == conf.database.connection:
            raise errors.ConfigurationError("[glance_flows] persistence_connection must not be Glance's own database.")
        return cls(url, own.lease_seconds)

    def sync(self) -> None:
        """Make or upgrade the tables.

        :raises DatabaseError: the database cannot be used
        """
        if self._engine.dialect.name == "sqlite":
            self._make_folder()
        self._refuse_images()
        try:
            self.backend.get_connection().upgrade()
            metadata.create_all(self._engine)
            _index_parents(self._engine)
        except Exception as failure:
            raise errors.StateUnavailable(
                f"the database of the flows' state cannot be used: {_line(failure)}"
            ) from failure
        self._checked = True

    @functools.cached_property
    def backend(self) -> Any:
        """taskflow's backend; imported when it is first asked for, since it brings Alembic, which a scrubber does
        without."""
        from glance_flows.persistence.backend import Backend

        return Backend(self._engine)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def _refuse_images(self) -> None:
        """Refuse a database that holds images, however its URL is spelt (D3)."""
        if self._has_table("images"):
            raise errors.ConfigurationError("[glance_flows] persistence_connection must not be Glance's own database.")

    def _has_table(self, name: str) -> bool:
        try:
            return bool(sa.inspect(self._engine).has_table(name))
        except sa.exc.SQLAlchemyError as failure:
            raise errors.StateUnavailable(
                f"the database of the flows' state cannot be used: {_line(failure)}"
            ) from failure

    def ready(self) -> None:
        """Make sure that the tables are there; those of an SQLite file are made when they are first needed.

        :raises ConfigurationError: another database has no tables yet
        :raises DatabaseError: it cannot be used
        """
        if self._checked:
            return
        if self._engine.dialect.name == "sqlite":
            self.sync()
            return
        if not (self._has_table("runs") and self._has_table("conductors")):
            raise errors.ConfigurationError("the flows' state lacks tables: run glance-flows db sync once.")
        self._checked = True

    def book(self, run_id: str, flow: str, holder: str, barred: Callable[[], errors.GlanceFlowsError | None]) -> Book:
        """Return the stored state of a run's flow, new where there is none, for its holder to write to.

        :param barred: tells why the holder must not write any more; asked before each write
        :raises StateLost: the database cannot be used
        """
        try:
            detail = _mended(self.find(run_id) or self._new(run_id, flow))
        except (sa.exc.SQLAlchemyError, taskflow_exceptions.StorageFailure) as failure:
            raise errors.StateLost(f"the state of run {run_id} cannot be read: {_line(failure)}") from failure
        return Book(self._engine, self.backend.get_connection()._tables, detail, holder, barred)

    def _new(self, run_id: str, flow: str) -> models.FlowDetail:
        book = models.LogBook(flow, uuid=run_id)
        detail = models.FlowDetail(flow, uuid=run_id)
        book.add(detail)
        self.backend.get_connection().save_logbook(book)
        return detail

    def begun(self, run_id: str) -> bool:
        """Tell whether a run has ever taken a step.

        :raises StateLost: the database cannot be used
        """
        try:
            with self._engine.connect() as connection:
                query = sa.text("SELECT uuid FROM logbooks WHERE uuid = :id")
                return connection.execute(query, {"id": run_id}).first() is not None
        except sa.exc.SQLAlchemyError as failure:
            raise errors.StateLost(f"the state of run {run_id} cannot be read: {_line(failure)}") from failure

    def find(self, run_id: str) -> models.FlowDetail | None:
        """Return the stored state of a run's flow, or None.

        :raises StateLost: the database cannot be used
        """
        if not self.begun(run_id):
            return None
        try:
            return self.backend.get_connection().get_logbook(run_id).find(run_id)
        except taskflow_exceptions.NotFound:
            return None
        except (sa.exc.SQLAlchemyError, taskflow_exceptions.StorageFailure) as failure:
            raise errors.StateLost(f"the state of run {run_id} cannot be read: {_line(failure)}") from failure

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _make_folder(self) -> None:
        path = self._engine.url.database
        if not path:
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise errors.ConfigurationError(
                f"[glance_flows] state_path: {Path(path).parent} cannot be made: {failure.strerror}."
            ) from failure


def _mended(detail: models.FlowDetail) -> models.FlowDetail:
    """Return the stored state of a flow as taskflow can read it.

    It writes down its own row of facts twice, at first without any; a process that was killed in between left one that
    taskflow itself stumbles over. The facts are the specification's, and are put in again whatever there is.
    """
    for atom in detail:
        if atom.name == taskflow_storage.Storage.injector_name and atom.results is None:
            atom.results, atom.state = {}, taskflow_states.SUCCESS
    return detail


def _engine(url: str) -> sa.Engine:
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url, poolclass=pool.QueuePool, pool_size=8, connect_args={"timeout": 30, "check_same_thread": False}
        )

        @event.listens_for(engine, "connect")
        def pragmas(connection: Any, record: Any) -> None:
            for pragma in _SQLITE_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

        return engine
    serializer = {} if parsed.get_backend_name() == "mysql" else {"json_serializer": jsonutils.dumps}
    return sa.create_engine(
        url, pool_size=8, max_overflow=8, pool_pre_ping=True, isolation_level="READ COMMITTED", **serializer
    )


def _index_parents(engine: sa.Engine) -> None:
    """taskflow looks details up by their parent, for which only some databases have an index."""
    for table in ("flowdetails", "atomdetails"):
        indexed = {column for index in sa.inspect(engine).get_indexes(table) for column in index["column_names"]}
        if "parent_uuid" not in indexed:
            with engine.begin() as connection:
                connection.execute(sa.text(f"CREATE INDEX ix_{table}_parent_uuid ON {table} (parent_uuid)"))


def _line(failure: Exception) -> str:
    cause = getattr(failure, "orig", None) or failure.__cause__ or failure
    cause = getattr(cause, "orig", None) or cause
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return errors.redact(lines[0])
