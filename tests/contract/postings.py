"""What the list of postings and of conductors promises, on every kind of database: concrete classes give one."""

import shutil
import tempfile
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.flows import delete_image
from glance_flows.persistence import ConductorRecord, Needs, Persistence
from glance_flows.persistence import postings as table
from glance_flows.persistence.records import FAILURE, POSTED, RUNNING, SUCCESS, SUSPENDED, Record, runs
from tests import base

LEASE = timedelta(seconds=60)
NEEDS = Needs(stores=("s1",), sources=("s2", "s3"), method="web-download", staged="host")


class PostingsCase(base.TestCase):
    """An empty list of runs."""

    #: Set by the classes that run on a server.
    connection: str | None = None

    def setUp(self) -> None:
        super().setUp()
        folder = Path(tempfile.mkdtemp(prefix="glance-flows-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.persistence = Persistence(self.connection or f"sqlite:///{folder}/flows.sqlite", 60)
        self.addCleanup(self.persistence.close)
        self.persistence.sync()
        for every in (runs, table.postings, table.conductors):
            self.persistence.records.write(sa.delete(every))
        self.postings, self.conductors = self.persistence.postings, self.persistence.conductors
        self.began = timeutils.utcnow() - timedelta(hours=1)

    def posted(self, state: str = POSTED, age: float = 0, priority: str = "normal", needs: Needs = NEEDS) -> str:
        """Post a run and return its id.

        :param age: seconds since its last sign of life
        """
        image_id = str(uuid.uuid4())
        self.began += timedelta(microseconds=250)
        then = timeutils.utcnow() - timedelta(seconds=age)
        record = Record(
            str(uuid.uuid4()), delete_image(image_id), state, "host:1:a", image_id=image_id,
            created_at=self.began, renewed_at=then,
        )  # fmt: skip
        self.postings.create(record, needs, priority)
        return record.id

    def waiting(self, *needs: Needs, limit: int = 100) -> list[str]:
        """Return the ids of the runs that wait."""
        return [found.run_id for found in self.postings.waiting(LEASE, needs or [NEEDS], limit)]


class PostingsContract:
    """F5."""

    def test_a_run_and_its_posting(self: Any) -> None:
        """F5: a run is written down with its posting, and both are read back as they were."""
        run_id = self.posted(priority="low")
        record = self.persistence.records.get(run_id)
        self.assertEqual(POSTED, record.state)
        found = self.postings.of([run_id, "unknown"])
        self.assertEqual([run_id], list(found))
        posting = found[run_id]
        self.assertEqual(("low", NEEDS, record.image_id), (posting.priority, posting.needs, posting.image_id))
        self.assertEqual(NEEDS, Needs.from_json(posting.details["needs"]))
        self.assertEqual(self.began, posting.posted_at)

    def test_both_or_neither(self: Any) -> None:
        """F5: a run that cannot be posted is not on the list either, and the other way round."""
        first = self.posted()
        record = self.persistence.records.get(first)
        self.assertRaises(errors.DatabaseError, self.postings.create, record, NEEDS)
        new = Record("new", record.spec, POSTED, "host:1:a")
        with mock.patch.object(
            table, "postings", sa.table("no_such_table", *(sa.column(c.name) for c in table.postings.c))
        ):
            self.assertRaises(errors.DatabaseError, self.postings.create, new, NEEDS)
        self.assertRaises(errors.NoSuchRun, self.persistence.records.get, "new")
        self.assertEqual({first}, set(self.postings.of([first, "new"])))

    def test_who_waits(self: Any) -> None:
        """F5: posted, suspended and dead runs wait for a conductor; living ones and those that are over do not."""
        fresh, given = self.posted(), self.posted(SUSPENDED)
        self.posted(RUNNING, age=50)
        dead = self.posted(RUNNING, age=70)
        self.posted(SUCCESS)
        self.posted(FAILURE)
        self.persistence.records.create(Record("deferred", delete_image("i"), SUSPENDED, "host:1:a"))
        self.assertEqual([fresh, given, dead], self.waiting())

    def test_what_was_left_behind(self: Any) -> None:
        """F6: a run that could not undo everything is taken up again after a rest, until nothing is left."""
        late, early = self.posted(RUNNING), self.posted(RUNNING)
        left = [{"task": "upload:s1", "action": "revert", "what": "the data"}]
        for run_id in (late, early):
            self.persistence.records.end(run_id, "host:1:a", FAILURE, "it failed", left)
        then = timeutils.utcnow() - 6 * LEASE
        self.persistence.records.write(sa.update(runs).where(runs.c.id == late).values(renewed_at=then))
        self.assertEqual([late], self.waiting())
        self.assertEqual({late, early}, self.postings.open_ones([late, early]))
        self.persistence.records.end(late, "host:1:a", FAILURE, "it failed", [])
        self.assertEqual([], self.waiting())
        self.assertEqual({early}, self.postings.open_ones([late, early]))

    def test_order(self: Any) -> None:
        """F5: a high priority comes before a low one, and within one the oldest run is the first."""
        low, plain = self.posted(priority="low"), [self.posted() for _ in range(5)]
        high = [self.posted(priority="high") for _ in range(2)]
        self.assertEqual([*high, *plain, low], self.waiting())
        self.assertEqual([*high, plain[0]], self.waiting(limit=3))

    def test_by_needs(self: Any) -> None:
        """F5: what the waiting runs need is told once each, and runs are found by it."""
        other = Needs(stores=("s9",))
        first, second, third = self.posted(needs=other), self.posted(), self.posted(needs=other)
        self.posted(SUCCESS, needs=Needs(stores=("gone",)))
        self.assertEqual({NEEDS, other}, set(self.postings.needs(LEASE)))
        self.assertEqual(2, len(self.postings.needs(LEASE)))
        self.assertEqual([first, third], self.waiting(other))
        self.assertEqual([first, second, third], self.waiting(other, NEEDS))
        self.assertEqual([], self.postings.waiting(LEASE, [], 10))

    def test_looking_several_up(self: Any) -> None:
        """F5: many runs are read at once; those that are not known are missing."""
        ids = {self.posted() for _ in range(3)}
        self.assertEqual(ids, set(self.postings.records([*ids, "unknown"])))
        self.assertEqual(({}, {}), (self.postings.records([]), self.postings.of([])))

    def test_giving_back(self: Any) -> None:
        """F5: only its holder gives a run back, and only one that he has suspended."""
        run_id, running = self.posted(SUSPENDED), self.posted(RUNNING)
        for who, which in (("host:2:b", run_id), ("host:1:a", running)):
            self.assertFalse(self.postings.give_back(which, who))
        self.assertTrue(self.postings.give_back(run_id, "host:1:a"))
        self.assertFalse(self.postings.give_back(run_id, "host:1:a"))
        states = [self.persistence.records.get(each).state for each in (run_id, running)]
        self.assertEqual([POSTED, RUNNING], states)
        self.assertEqual((1, 1, 0), tuple(self.postings.count(state) for state in (POSTED, RUNNING, SUCCESS)))

    def test_one_of_many_takes_it(self: Any) -> None:
        """F5: of two conductors that saw the same posted run one has it."""
        record = self.persistence.records.get(self.posted())
        taken = [self.persistence.records.take_over(record, holder) for holder in ("b:1:x", "c:1:x", "b:1:x")]
        self.assertEqual([True, False, False], taken)
        self.assertEqual([], self.waiting())

    def test_a_posting_is_forgotten_with_its_run(self: Any) -> None:
        """F5: nothing of a run that was forgotten stays."""
        gone, kept = self.posted(), self.posted()
        self.persistence.records.end(gone, "host:1:a", SUCCESS, None, [])
        self.assertEqual(1, self.persistence.records.expire(timeutils.utcnow() + timedelta(seconds=5)))
        self.assertEqual({kept}, set(self.postings.of([gone, kept])))


class ConductorsContract:
    """F5: who is at work."""

    def conductor(self: Any, name: str, **values: Any) -> ConductorRecord:
        """Return a conductor."""
        plain = {"host": name, "version": "1", "state": "working", "jobs": 3, "stores": ("s1",), "methods": ("m",)}
        return ConductorRecord(name, **{**plain, **values})

    def silent(self: Any, name: str, seconds: float) -> None:
        """Make a conductor's last sign of life so old."""
        then = timeutils.utcnow() - timedelta(seconds=seconds)
        row = table.conductors.c.name == name
        self.persistence.records.write(sa.update(table.conductors).where(row).values(renewed_at=then))

    def names(self: Any) -> list[str]:
        """Return who is on the list."""
        return [each.name for each in self.conductors.all()]

    def test_signs_of_life(self: Any) -> None:
        """F5: a conductor is on the list once, as it first showed itself, but for its state."""
        for state in ("working", "working", "draining"):
            self.conductors.beat(self.conductor("b", state=state))
        self.conductors.beat(self.conductor("a"))
        first, second = self.conductors.all()
        self.assertEqual(("a", "b", "draining"), (first.name, second.name, second.state))
        self.assertEqual((("s1",), ("m",), 3), (first.stores, first.methods, first.jobs))
        self.assertLess(timeutils.utcnow() - first.renewed_at, LEASE)

    def test_who_is_alive(self: Any) -> None:
        """F5: those that work and were heard of within a lease; one that is silent comes back by itself."""
        for name, state in (("a", "working"), ("b", "draining"), ("c", "working")):
            self.conductors.beat(self.conductor(name, state=state))
        self.silent("c", 70)
        self.assertEqual(["a"], [each.name for each in self.conductors.alive(LEASE)])
        self.conductors.beat(self.conductor("c"))
        self.assertEqual(["a", "c"], [each.name for each in self.conductors.alive(LEASE)])

    def test_leaving(self: Any) -> None:
        """F5: one that leaves is off the list, others are not; leaving twice does nothing."""
        for name in "ab":
            self.conductors.beat(self.conductor(name))
        self.conductors.leave("a")
        self.conductors.leave("a")
        self.assertEqual(["b"], self.names())

    def test_forgetting(self: Any) -> None:
        """F5: one that was silent for very long is forgotten."""
        for name, seconds in (("a", 10), ("b", 3700)):
            self.conductors.beat(self.conductor(name))
            self.silent(name, seconds)
        self.conductors.forget(timedelta(hours=1))
        self.assertEqual(["a"], self.names())
