"""Runs that wait for a conductor, and the conductors there are: the truth of which a jobboard is only a hint (F5).

A posted run is a run like any other with a posting beside it, which says what a host must have to run it. The posting
stays until the run is forgotten, so that a run whose conductor died is known to be any conductor's to take up.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows.persistence.records import (
    OPEN,
    POSTED,
    RUNNING,
    SUSPENDED,
    Record,
    Records,
    insertion,
    metadata,
    runs,
    told,
)

PRIORITIES = ("high", "normal", "low")
NORMAL = "normal"

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class _Moment(sa.types.TypeDecorator[datetime]):
    """A moment to the microsecond on every database, as a number of them: the oldest comes first."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Return what is stored."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        """Return what was stored."""
        return None if value is None else _EPOCH + value * _MICROSECOND


postings = sa.Table(
    "postings",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("priority", sa.String(16), nullable=False),
    sa.Column("needs", sa.Text, nullable=False),
    sa.Column("posted_at", _Moment, nullable=False),
    sa.Index("ix_postings_posted_at", "posted_at", "run_id"),
)
conductors = sa.Table(
    "conductors",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column("stores", sa.Text, nullable=False),
    sa.Column("methods", sa.Text, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("renewed_at", sa.DateTime, nullable=False),
)
_RANK = sa.case({name: place for place, name in enumerate(PRIORITIES)}, value=postings.c.priority)
#: After how many leases a run that left something behind is taken up again: what it waits for is not back at once.
_RESTS = 5
WORKING, DRAINING = "working", "draining"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a host must have to run something.

    :param stores: names of stores, every one of them
    :param sources: names of stores of which one is enough; none where nothing is read from a store
    :param method: an import method; empty for none
    :param staged: the host in whose staging area the data waits; empty where it does not matter
    """

    stores: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    method: str = ""
    staged: str = ""

    @classmethod
    def from_json(cls, fact: Mapping[str, Any]) -> "Needs":
        """Read what :meth:`to_json` made."""
        return cls(**{**fact, "stores": tuple(fact["stores"]), "sources": tuple(fact["sources"])})

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Posting:
    """What is known of a posted run beside its record."""

    run_id: str
    priority: str
    needs: Needs
    posted_at: datetime
    image_id: str = ""

    @property
    def details(self) -> dict[str, Any]:
        """What the board tells a conductor of the run."""
        return {"run": self.run_id, "image": self.image_id, "needs": self.needs.to_json()}


@dataclass(frozen=True, slots=True)
class ConductorRecord:
    """A conductor as it shows itself.

    :param name: which is the holder of the runs it works on
    :param jobs: how many it works on at once
    """

    name: str
    host: str
    version: str
    state: str
    jobs: int
    stores: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    started_at: datetime = field(default_factory=timeutils.utcnow)
    renewed_at: datetime = field(default_factory=timeutils.utcnow)


class Postings:
    """Queries and changes of posted runs.

    :param records: the list of runs
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def create(self, record: Record, needs: Needs, priority: str = NORMAL) -> Posting:
        """Write a new run and its posting down, both or neither."""
        posting = Posting(record.id, priority, needs, record.created_at, record.image_id)
        values = {
            "run_id": record.id,
            "priority": priority,
            "needs": _text(needs),
            "posted_at": posting.posted_at,
        }
        self._records.write(insertion(record), sa.insert(postings).values(**values))
        return posting

    def of(self, run_ids: Collection[str]) -> dict[str, Posting]:
        """Return the postings of runs by the runs' ids; those that were not posted are missing."""
        found = self._read(_POSTED.where(postings.c.run_id.in_(sorted(run_ids)))) if run_ids else []
        return {posting.run_id: posting for posting in found}

    def records(self, run_ids: Collection[str]) -> dict[str, Record]:
        """Return runs by their ids, in one query; those that are not known are missing."""
        found = self._records.read(sa.select(runs).where(runs.c.id.in_(sorted(run_ids)))) if run_ids else []
        return {record.id: record for record in found}

    def open_ones(self, run_ids: Collection[str]) -> set[str]:
        """Return the ids of those runs that somebody has to do something about."""
        unfinished = sa.or_(runs.c.state.in_(OPEN), runs.c.leftovers.is_not(None))
        query = sa.select(runs.c.id).where(runs.c.id.in_(sorted(run_ids)), unfinished)
        with told(), self._records.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def waiting(self, silent: timedelta, needs: Collection[Needs], limit: int) -> list[Posting]:
        """Return the postings of runs that nobody works on, the oldest first within a priority.

        :param silent: how long a run must have shown no sign of life to be nobody's
        :param needs: only runs that need one of these
        :param limit: how many at most
        """
        if not needs:
            return []
        texts = [_text(each) for each in needs]
        query = _POSTED.where(_nobodys(silent), postings.c.needs.in_(texts))
        return self._read(query.order_by(_RANK, postings.c.posted_at, postings.c.run_id).limit(limit))

    def needs(self, silent: timedelta) -> list[Needs]:
        """Return what the runs that nobody works on need, each once."""
        query = sa.select(postings.c.needs).join(runs, runs.c.id == postings.c.run_id).where(_nobodys(silent))
        with told(), self._records.engine.connect() as connection:
            found = list(connection.execute(query.distinct()).scalars())
        return [Needs.from_json(json.loads(text)) for text in found]

    def give_back(self, run_id: str, holder: str) -> bool:
        """Let any conductor take up a run that its holder has suspended; tell whether it was still his."""
        mine = sa.and_(runs.c.id == run_id, runs.c.holder == holder, runs.c.state == SUSPENDED)
        return self._records.write(sa.update(runs).where(mine).values(state=POSTED, error=None)) == 1

    def count(self, state: str = POSTED) -> int:
        """Return how many posted runs are in a state."""
        query = sa.select(sa.func.count()).select_from(postings.join(runs, runs.c.id == postings.c.run_id))
        with told(), self._records.engine.connect() as connection:
            return int(connection.execute(query.where(runs.c.state == state)).scalar_one())

    def _read(self, query: Any) -> list[Posting]:
        with told(), self._records.engine.connect() as connection:
            rows = list(connection.execute(query).mappings())
        return [Posting(**{**row, "needs": Needs.from_json(json.loads(row["needs"]))}) for row in rows]


_POSTED = sa.select(postings, runs.c.image_id).join(runs, runs.c.id == postings.c.run_id)


def _nobodys(silent: timedelta) -> Any:
    now = timeutils.utcnow()
    dead = sa.and_(runs.c.state == RUNNING, runs.c.renewed_at < now - silent)
    over = sa.and_(runs.c.state.not_in(OPEN), runs.c.leftovers.is_not(None))
    unfinished = sa.and_(over, runs.c.renewed_at < now - _RESTS * silent)
    return sa.or_(runs.c.state.in_((POSTED, SUSPENDED)), dead, unfinished)


def _text(needs: Needs) -> str:
    return json.dumps(needs.to_json(), sort_keys=True)


class Conductors:
    """Queries and changes of the list of conductors.

    :param records: the list of runs, whose database has this list, too
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def beat(self, conductor: ConductorRecord) -> None:
        """Show a sign of life."""
        now = timeutils.utcnow()
        row = conductors.c.name == conductor.name
        changed = sa.update(conductors).where(row).values(renewed_at=now, state=conductor.state)
        if self._records.write(changed) == 0:
            self._records.write(sa.insert(conductors).values(**{**_row(conductor), "renewed_at": now}))

    def leave(self, name: str) -> None:
        """Take a conductor off the list."""
        self._records.write(sa.delete(conductors).where(conductors.c.name == name))

    def forget(self, silent: timedelta) -> None:
        """Take those off the list that have shown no sign of life for so long."""
        self._records.write(sa.delete(conductors).where(conductors.c.renewed_at < timeutils.utcnow() - silent))

    def all(self) -> list[ConductorRecord]:
        """Return every conductor on the list, dead ones too, in the order of their names."""
        with told(), self._records.engine.connect() as connection:
            rows = list(connection.execute(sa.select(conductors).order_by(conductors.c.name)).mappings())
        return [
            ConductorRecord(
                **{**row, "stores": tuple(json.loads(row["stores"])), "methods": tuple(json.loads(row["methods"]))}
            )
            for row in rows
        ]

    def alive(self, lease: timedelta) -> list[ConductorRecord]:
        """Return those that work and have shown a sign of life within a lease."""
        since = timeutils.utcnow() - lease
        return [each for each in self.all() if each.renewed_at >= since and each.state == WORKING]


def _row(conductor: ConductorRecord) -> dict[str, Any]:
    return {
        "name": conductor.name,
        "host": conductor.host,
        "version": conductor.version,
        "state": conductor.state,
        "jobs": conductor.jobs,
        "stores": json.dumps(conductor.stores),
        "methods": json.dumps(conductor.methods),
        "started_at": conductor.started_at,
    }
