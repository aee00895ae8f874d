"""The base of every task keeps the promises of F2 and F6 for its subclasses."""

from typing import Any

import fixtures
from taskflow import engines
from taskflow.types.failure import Failure

from glance_flows import errors
from glance_flows.flow import series
from glance_flows.task import CancelToken, Leftovers, Task, succeeded
from tests import base


class Acting(Task):
    default_provides = "acted"

    def __init__(self, result: Any = None, error: Exception | None = None) -> None:
        super().__init__()
        self.result, self.error = result, error

    def execute(self, thing: str) -> Any:
        """Return the result, or raise the error."""
        if self.error:
            raise self.error
        return self.result


class Unruly(Task):
    def execute(self) -> int:
        """Succeed."""
        return 1

    def revert(self) -> None:
        """Fail."""
        raise RuntimeError("s3://key:secret@host is away")


class Witness(Task):
    seen: list[Any]

    def execute(self) -> int:
        """Succeed."""
        return 7

    def revert(self, result: Any, **rest: Any) -> None:
        """Note what the undo is given."""
        self.seen.append((result, sorted(rest)))


class Blows(Task):
    def execute(self) -> None:
        """Fail."""
        raise errors.StoreFull("blown")


class TestTask(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.logged = self.useFixture(fixtures.FakeLogger())
        self.leftovers = Leftovers()

    def run_flow(self, *tasks: Task) -> Any:
        engine = engines.load(series("x", *tasks), engine="serial", store={"thing": "t"})
        engine.storage.inject({"leftovers": self.leftovers}, transient=True)
        engine.run()
        return engine.storage.fetch_all()

    def test_results_are_json(self) -> None:
        """F2: a result goes through JSON at once, so that it stays the same; what is not JSON fails the task."""
        self.assertEqual({"a": [1, 2]}, self.run_flow(Acting({"a": (1, 2)}))["acted"])
        for result in (object(), {1, 2}, b"bytes"):
            self.assertRaisesRegex(errors.TaskFailed, "acting is not JSON", self.run_flow, Acting(result))

    def test_foreign_errors(self) -> None:
        """F2: an exception of any library becomes ours, named after the task, without credentials."""
        cause = RuntimeError("no route to s3://key:secret@host")
        failure = self.assertRaises(errors.TaskFailed, self.run_flow, Acting(error=cause))
        self.assertIn("acting failed: RuntimeError: no route to s3://***@host", str(failure))
        own = errors.StoreFull("full")
        self.assertIs(own, self.assertRaises(errors.StoreFull, self.run_flow, Acting(error=own)))

    def test_undoing_never_raises(self) -> None:
        """F6: what an undo fails with is recorded; the undos of earlier tasks are done all the same."""
        witness = Witness()
        witness.seen = []
        self.assertRaises(errors.StoreFull, self.run_flow, witness, Unruly(), Blows())
        self.assertEqual(["unruly could not be undone: s3://***@host is away"], self.leftovers.items)
        ((result, _),) = witness.seen
        self.assertEqual(7, result)

    def test_names(self) -> None:
        """F1: a task is named after its class, and what tells it from others."""
        self.assertEqual(("blows", "blows:s1"), (Blows().name, Blows("s1").name))

    def test_succeeded(self) -> None:
        """F6: an undo can tell whether its task had done its work."""
        failure = Failure.from_exception(ValueError("x"))
        self.assertEqual([True, True, False, False], [succeeded(x) for x in ({}, 0, None, failure)])


class TestCancelToken(base.TestCase):
    def test_the_first_reason_stays(self) -> None:
        """C12, C27: a run that is to stop tells the first reason it was given."""
        token = CancelToken()
        token.check()
        self.assertFalse(token.wait(0))
        token.set(errors.StoreFull("full"))
        token.set(errors.Gone("deleted"))
        self.assertRaisesRegex(errors.Cancelled, "stopped: full", token.check)
        self.assertTrue(token.wait(0))
        self.assertIsInstance(token.reason, errors.StoreFull)
