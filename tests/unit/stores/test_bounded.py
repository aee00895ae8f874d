"""Calls that may never end."""

import threading
from collections.abc import Callable
from typing import Any

from glance_flows import errors
from glance_flows.stores.bounded import BoundedCall, Patience
from glance_flows.task import CancelToken
from tests import base

SHORT = Patience(stall=0.3, grace=0.2)
LONG = Patience(stall=60, grace=60)


class TestBoundedCall(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hold = threading.Event()
        self.addCleanup(self.hold.set)
        self.late: list[Any] = []
        self.was_late = threading.Event()

    def hanging(self, then: Callable[[], Any]) -> Callable[[], Any]:
        """Return a call that ends when the test lets it."""

        def call() -> Any:
            self.hold.wait()
            return then()

        return call

    def note(self, result: Any) -> None:
        self.late.append(result)
        self.was_late.set()

    def test_its_result_and_its_failure(self) -> None:
        """C12: what the call gives or raises is what the caller gets."""
        self.assertEqual(7, BoundedCall(lambda: 7).wait("it", LONG))
        self.assertRaises(ZeroDivisionError, BoundedCall(lambda: 1 // 0).wait, "it", LONG)

    def test_a_call_that_stands_still_is_given_up(self) -> None:
        """C12: a store that hangs fails like one that answers with an error; what it took too late is removed."""
        call = BoundedCall(self.hanging(lambda: "late"), late=self.note)
        self.assertRaisesRegex(errors.StoreTimeout, "it made no progress for 0.3 s", call.wait, "it", SHORT)
        self.assertEqual([], self.late)
        self.hold.set()
        self.assertTrue(self.was_late.wait(30))
        self.assertEqual(["late"], self.late)

    def test_a_slow_call_that_moves_is_waited_for(self) -> None:
        """C12: only standing still counts, however long the whole takes."""
        steps = iter(range(12))
        ends = threading.Event()

        def position() -> int:
            at = next(steps, 12)
            if at == 12:
                ends.set()
            return at

        self.assertIs(True, BoundedCall(lambda: ends.wait(30), position=position).wait("it", SHORT))

    def test_a_call_that_stops_when_told_tells_why_it_was_told(self) -> None:
        """C12: a time-out stays a time-out, also where the driver notices that nobody waits and ends."""

        def stopped() -> None:
            raise errors.Cancelled("the upload was given up.")

        call = BoundedCall(self.hanging(stopped), stop=self.hold.set)
        self.assertRaises(errors.StoreTimeout, call.wait, "it", Patience(stall=0.2, grace=60))

    def test_a_call_that_ends_in_its_grace_counts(self) -> None:
        """C12: what was taken in time is told to the caller, who removes it."""
        call = BoundedCall(self.hanging(lambda: "done"), stop=self.hold.set, late=self.note)
        self.assertEqual("done", call.wait("it", Patience(stall=0.2, grace=60)))
        self.assertEqual([], self.late)

    def test_cancelling(self) -> None:
        """C12, C27: a cancelled run does not wait for a store that hangs longer than its grace."""
        token = CancelToken()
        token.set(errors.StoreFull("a sibling is full."))
        call = BoundedCall(self.hanging(lambda: None))
        patience = Patience(stall=60, grace=0.1)
        self.assertRaisesRegex(errors.Cancelled, "a sibling is full", call.wait, "it", patience, token)
