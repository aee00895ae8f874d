"""The stored state of one run, as taskflow writes to it: fenced, without secrets, and in as few statements as it takes.

taskflow's own connection reads a whole flow before each write and writes all of it again, since anybody might have
written to it. Here exactly one process may: the holder of the run. That is made sure of by every statement, so a
process that was overtaken while it stood still cannot spoil what its successor writes.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from taskflow.persistence import base, models
from taskflow.types import failure as taskflow_failure

from glance_flows import errors
from glance_flows.persistence.records import RUNNING, runs

_TRIES = 3
_PAUSE_SECONDS = 0.3


class Book:
    """Both the backend and the connection that taskflow asks for; for one run.

    :param engine: of the database of the flows' state
    :param tables: taskflow's tables
    :param holder: the process that may write, as long as the run is running
    :param barred: tells why the holder must not write any more, though nobody else may have taken the run over yet
    """

    def __init__(
        self,
        engine: sa.Engine,
        tables: Any,
        detail: models.FlowDetail,
        holder: str,
        barred: Callable[[], errors.GlanceFlowsError | None],
    ) -> None:
        self.detail = detail
        self._engine = engine
        self._flows, self._atoms = tables.flowdetails, tables.atomdetails
        # Running, too: a run that was given up in the middle of a task is suspended while that task goes on.
        running = runs.c.state == RUNNING
        self._mine = sa.exists().where(runs.c.id == detail.uuid, runs.c.holder == holder, running)
        self._stored = {atom.uuid for atom in detail}
        self._rows: dict[str, dict[str, Any]] = {}
        self._told: tuple[Any, Any] = (detail.state, dict(detail.meta or {}))
        self._untold: tuple[Any, Any] | None = None
        self._lock = threading.Lock()
        self._lost: errors.GlanceFlowsError | None = None
        self._barred = barred

    def get_connection(self) -> "Book":
        """Return the connection: this very object."""
        return self

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def lost(self) -> errors.GlanceFlowsError | None:
        """Why nothing can be written any more; a run that could not save a step takes no other."""
        return self._lost

    def update_flow_details(self, detail: models.FlowDetail) -> models.FlowDetail:
        """Write new tasks down; the state of the flow, which follows from theirs, goes with the next write."""
        state = (detail.state, dict(detail.meta or {}))
        with self._lock:
            self._untold = state if state != self._told else None
            new = [atom for atom in detail if atom.uuid not in self._stored]
            if new:
                rows = [{**_plain(atom), "parent_uuid": detail.uuid, "atom_type": _kind(atom)} for atom in new]
                self._write(sa.insert(self._atoms), rows)
                self._stored.update(atom.uuid for atom in new)
        return detail

    def update_atom_details(self, detail: models.AtomDetail) -> models.AtomDetail:
        """Write the state of a task down."""
        row = _plain(detail)
        # How far a task says it is, taskflow's own notes of a beginning and an end, is told elsewhere.
        row.pop("meta")
        with self._lock:
            if row != self._rows.get(detail.uuid):
                mine = sa.and_(self._atoms.c.uuid == detail.uuid, self._mine)
                self._write(sa.update(self._atoms).where(mine).values(**row))
                self._rows[detail.uuid] = row
        return detail

    def flush(self) -> None:
        """Write the state of the flow down."""
        with self._lock:
            if self._untold is not None:
                self._write()

    def _write(self, statement: Any = None, rows: list[dict[str, Any]] | None = None) -> None:
        """Write in one transaction; a database that is away for a moment is tried again.

        :raises StateLost: it could not be written
        :raises LockLost: the run is another process's by now, or may be: a task is not undone any more then, and must
            not be written down as if it were
        """
        self._lost = self._lost or self._barred()
        if self._lost is not None:
            raise type(self._lost)(str(self._lost))
        for attempt in range(_TRIES):
            try:
                with self._engine.begin() as connection:
                    # The try before may have taken place all the same, its answer lost on the way.
                    new = self._missing(connection, rows) if attempt else rows
                    held = self._write_once(connection, statement, new)
            except sa.exc.SQLAlchemyError as failure:
                if attempt == _TRIES - 1 or not isinstance(failure, sa.exc.DBAPIError):
                    raise self._lose(failure) from failure
                time.sleep(_PAUSE_SECONDS)
            else:
                if not held:
                    self._lost = errors.LockLost(f"run {self.detail.uuid} was taken over by another process.")
                    raise self._lost
                self._told, self._untold = self._untold or self._told, None
                return

    def _write_once(self, connection: sa.Connection, statement: Any, rows: list[dict[str, Any]] | None) -> bool:
        held = True
        if rows is not None:
            held = bool(connection.execute(sa.select(self._mine)).scalar())
            if held and rows:
                connection.execute(statement, rows)
        elif statement is not None:
            held = connection.execute(statement).rowcount == 1
        if held and self._untold is not None:
            state, meta = self._untold
            flow = sa.and_(self._flows.c.uuid == self.detail.uuid, self._mine)
            held = connection.execute(sa.update(self._flows).where(flow).values(state=state, meta=meta)).rowcount == 1
        return held

    def _missing(self, connection: sa.Connection, rows: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if rows is None:
            return None
        ids = sa.select(self._atoms.c.uuid).where(self._atoms.c.uuid.in_([row["uuid"] for row in rows]))
        there = set(connection.execute(ids).scalars())
        return [row for row in rows if row["uuid"] not in there]

    def _lose(self, failure: Exception) -> errors.GlanceFlowsError:
        line = str(getattr(failure, "orig", None) or failure).splitlines()[0]
        text = f"the state of run {self.detail.uuid} could not be saved: {line}. Resume it when its database is back."
        self._lost = errors.StateLost(text)
        return self._lost


base.Backend.register(Book)
base.Connection.register(Book)


def _kind(detail: models.AtomDetail) -> str:
    return str(models.atom_detail_type(detail))


def _plain(detail: models.AtomDetail) -> dict[str, Any]:
    """Return what is written of a task: of a failure its type and its message, and no more (F2).

    Tracebacks and the exceptions behind an exception quote whatever they like, credentials too.
    """
    row: dict[str, Any] = detail.to_dict()
    for name in ("failure", "revert_failure"):
        failure = getattr(detail, name)
        if failure is not None:
            row[name] = _told(failure)
    return row


def _told(failure: taskflow_failure.Failure) -> dict[str, Any]:
    text = errors.redact(str(failure.exception_str))
    return {
        "exception_str": text,
        "traceback_str": None,
        "exc_type_names": list(failure),
        "version": failure.DICT_VERSION,
        "exc_args": [text],
        "causes": [],
    }
