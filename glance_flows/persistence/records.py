"""The list of runs: what each is, who works on it, how far it is, and what is asked of it from outside (F4)."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.flow import FlowSpec

RUNNING = "running"
SUSPENDED = "suspended"
#: Waits for a conductor; nobody has begun it, or it was given back.
POSTED = "posted"
SUCCESS = "success"
FAILURE = "failure"
OPEN = (RUNNING, SUSPENDED, POSTED)

metadata = sa.MetaData()
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("flow", sa.String(64), nullable=False),
    sa.Column("image_id", sa.String(36), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("holder", sa.String(128), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("progress", sa.Text),
    sa.Column("leftovers", sa.Text),
    sa.Column("cancel_reason", sa.Text),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("renewed_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
    sa.Index("ix_runs_state", "state"),
    sa.Index("ix_runs_image_id", "image_id"),
    sa.Index("ix_runs_finished_at", "finished_at"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """A run as it is written down.

    :param holder: the process that works on it, or worked on it last
    :param progress: the parts of the run, as the board tells them
    :param leftovers: what it could not undo: the task, whether it is to be undone or done again, and words
    """

    id: str
    spec: FlowSpec
    state: str
    holder: str
    version: str = ""
    image_id: str = ""
    error: str | None = None
    progress: tuple[Mapping[str, Any], ...] = ()
    leftovers: tuple[Mapping[str, str], ...] = ()
    cancel_reason: str | None = None
    created_at: datetime = field(default_factory=timeutils.utcnow)
    renewed_at: datetime = field(default_factory=timeutils.utcnow)
    finished_at: datetime | None = None

    @property
    def finished(self) -> bool:
        """Whether nobody has to do anything about it any more."""
        return self.state not in OPEN and not self.leftovers


class Records:
    """Queries and changes of the list of runs.

    :param engine: of the database of the flows' state
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def create(self, record: Record) -> None:
        """Write a new run down."""
        self.write(insertion(record))

    def get(self, run_id: str) -> Record:
        """Return a run.

        :raises NotFound: there is none of this id
        """
        found = self.read(sa.select(runs).where(runs.c.id == run_id))
        if not found:
            raise errors.NoSuchRun(f"there is no run {run_id}.")
        return found[0]

    def page(self, *, limit: int = 500, after: str = "", open_only: bool = False, **equal: Any) -> list[Record]:
        """Return runs in the order of their ids.

        :param after: the last id of the page before
        :param open_only: only those that somebody has to do something about
        :param equal: columns and the values they must have; None stands for any
        """
        query = sa.select(runs).where(runs.c.id > after).order_by(runs.c.id).limit(limit)
        if open_only:
            query = query.where(sa.or_(runs.c.state.in_(OPEN), runs.c.leftovers.is_not(None)))
        for name, wanted in equal.items():
            if wanted is not None:
                query = query.where(runs.c[name] == wanted)
        return self.read(query)

    def renew(self, holder: str, progress: Mapping[str, Any]) -> dict[str, str | None]:
        """Renew the leases of runs, note how far they are, and return what is asked of those still the holder's.

        :param progress: the parts of each run by its id; None where nothing has changed
        :return: by the id of the run the reason to cancel it, or None; a run that is missing was taken over
        """
        ids = sorted(progress)
        mine = sa.and_(runs.c.id.in_(ids), runs.c.holder == holder, runs.c.state == RUNNING)
        statements: list[Any] = [sa.update(runs).where(mine).values(renewed_at=timeutils.utcnow())]
        for run_id, parts in progress.items():
            if parts is not None:
                row = sa.and_(runs.c.id == run_id, runs.c.holder == holder)
                statements.append(sa.update(runs).where(row).values(progress=json.dumps(parts)))
        self.write(*statements)
        query = sa.select(runs.c.id, runs.c.cancel_reason).where(mine)
        with told(), self.engine.connect() as connection:
            return {row.id: row.cancel_reason for row in connection.execute(query)}

    def take_over(self, record: Record, holder: str) -> bool:
        """Take a dead run over, by compare-and-swap; tell whether nobody was faster."""
        seen = sa.and_(runs.c.id == record.id, runs.c.holder == record.holder, runs.c.renewed_at == record.renewed_at)
        values = {"holder": holder, "renewed_at": timeutils.utcnow(), "state": RUNNING, "finished_at": None}
        return self.write(sa.update(runs).where(seen).values(**values)) == 1

    def end(
        self,
        run_id: str,
        holder: str,
        state: str,
        error: str | None,
        leftovers: Iterable[Mapping[str, str]],
        progress: Any = None,
    ) -> bool:
        """Write down how a run ended, or that it is suspended; tell whether it was still the holder's.

        :param progress: the parts of the run as they are now, JSON; None leaves what is written down
        """
        items = list(leftovers)
        values = {
            "state": state,
            "error": error,
            "leftovers": json.dumps(items) if items else None,
            "finished_at": None if state in OPEN else timeutils.utcnow(),
            "renewed_at": timeutils.utcnow(),
            **({} if progress is None else {"progress": json.dumps(progress)}),
        }
        row = sa.and_(runs.c.id == run_id, runs.c.holder == holder)
        return self.write(sa.update(runs).where(row).values(**values)) == 1

    def note_leftovers(self, run_id: str, holder: str, leftovers: Iterable[Mapping[str, str]]) -> None:
        """Write down at once what a run that is still under way could not undo (F6)."""
        row = sa.and_(runs.c.id == run_id, runs.c.holder == holder)
        self.write(sa.update(runs).where(row).values(leftovers=json.dumps(list(leftovers))))

    def ask_to_cancel(self, run_id: str, reason: str) -> bool:
        """Ask whoever works on a run to cancel it; tell whether it is open."""
        row = sa.and_(runs.c.id == run_id, runs.c.state.in_(OPEN))
        return self.write(sa.update(runs).where(row).values(cancel_reason=reason)) == 1

    def expire(self, before: datetime, limit: int = 1000) -> int:
        """Forget runs that were over before a moment, with nothing left to do, and tell how many they were.

        :param limit: how many at most; there may be more of them unless none was found
        """
        over = sa.select(runs.c.id).where(runs.c.finished_at < before, runs.c.leftovers.is_(None)).limit(limit)
        with told(), self.engine.connect() as connection:
            ids = list(connection.execute(over).scalars())
        if ids:
            books, postings = sa.table("logbooks", sa.column("uuid")), sa.table("postings", sa.column("run_id"))
            self.write(
                sa.delete(runs).where(runs.c.id.in_(ids)),
                sa.delete(books).where(books.c.uuid.in_(ids)),
                sa.delete(postings).where(postings.c.run_id.in_(ids)),
            )
        return len(ids)

    def read(self, query: Any) -> list[Record]:
        """Return the runs that a query of their columns finds."""
        with told(), self.engine.connect() as connection:
            return [_record(dict(row)) for row in connection.execute(query).mappings()]

    def write(self, *statements: Any) -> int:
        """Execute statements in one transaction and tell how many rows the first one touched."""
        with told(), self.engine.begin() as connection:
            counts = [connection.execute(statement).rowcount for statement in statements]
        return int(counts[0])


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise the database's errors as ours."""
    try:
        yield
    except sa.exc.SQLAlchemyError as failure:
        line = str(getattr(failure, "orig", None) or failure).splitlines()[0]
        raise errors.DatabaseError(f"the database of the flows' state could not be used: {line}") from failure


def insertion(record: Record) -> Any:
    """Return the statement that writes a new run down."""
    return sa.insert(runs).values(
        id=record.id,
        flow=record.spec.flow,
        image_id=record.image_id,
        spec=record.spec.to_json(),
        version=record.version,
        state=record.state,
        holder=record.holder,
        created_at=record.created_at,
        renewed_at=record.renewed_at,
    )


def _record(row: Mapping[str, Any]) -> Record:
    plain = dict(row)
    plain.pop("flow")
    return Record(
        **{
            **plain,
            "spec": FlowSpec.from_json(plain["spec"]),
            "progress": tuple(json.loads(plain["progress"] or "[]")),
            "leftovers": tuple(json.loads(plain["leftovers"] or "[]")),
        }
    )
