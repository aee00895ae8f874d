"""The pulse of running flows (C15, C25, C26)."""

import threading
import time
from types import SimpleNamespace
from typing import Any
from unittest import mock

import fixtures

from glance_flows import errors
from glance_flows.db.claims import Sign
from glance_flows.flows import copy_image
from glance_flows.listeners import Pulse
from glance_flows.run import Run
from tests import base
from tests.contract.worlds import PATIENCE, eventually


class Books:
    """The locks of a database that can be away."""

    def __init__(self) -> None:
        self.claims = self
        self.signs: dict[str, Sign] = {}
        self.away = False
        self.asked = threading.Semaphore(0)
        self.renewed: list[dict[str, str | None]] = []

    def look(self, image_ids: set[str]) -> dict[str, Sign]:
        self.asked.release()
        if self.away:
            raise errors.DatabaseError("away")
        return {image_id: self.signs[image_id] for image_id in image_ids if image_id in self.signs}

    def renew(self, messages: dict[str, str | None]) -> None:
        self.renewed.append(messages)


class Runs:
    """The list of runs: what is asked of them, and which were taken over."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.taken: set[str] = set()
        self.old = [1000, 1000, 3]
        self.expired: list[int] = []

    def expire(self, before: Any) -> int:
        self.expired.append(self.old.pop(0) if self.old else 0)
        return self.expired[-1]

    def renew(self, holder: str, progress: dict[str, Any]) -> dict[str, str | None]:
        return {run_id: self.reasons.get(run_id) for run_id in progress if run_id not in self.taken}


def held() -> Run:
    """A run of an admitted copy."""
    return Run(copy_image("i", to=["s"]).replace(resolved={}))


class TestPulse(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        patcher = mock.patch("glance_flows.listeners._LOOK_SECONDS", 0.01)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.books = Books()
        self.runs = Runs()
        own = SimpleNamespace(lease_seconds=3, progress_interval=0.01, run_retention=7)
        services: Any = SimpleNamespace(
            conf=SimpleNamespace(glance_flows=own), db=self.books, persistence=SimpleNamespace(records=self.runs)
        )
        self.pulse = Pulse(services, "here")
        self.addCleanup(self.pulse.close)
        self.held = held()

    def looks(self, count: int = 2) -> None:
        """Wait until the pulse has looked so many times more."""
        for _ in range(count):
            self.assertTrue(self.books.asked.acquire(timeout=PATIENCE))

    def test_old_runs(self) -> None:
        """F4: old runs are forgotten now and then, all of them, some at each look."""
        self.pulse.add(self.held, time.monotonic())
        self.looks()
        self.assertEqual([], self.runs.expired)
        self.pulse._tidied -= 3601
        eventually(lambda: self.runs.expired == [1000, 1000, 3, 0], "all are forgotten")
        self.looks()
        self.assertEqual([1000, 1000, 3, 0], self.runs.expired)

    def reason(self) -> Any:
        self.assertTrue(self.held.token.wait(PATIENCE), "the run was not told")
        return self.held.token.reason

    def test_gone(self) -> None:
        """C15: a run is told that its image was deleted, or purged."""
        for sign in ({"i": Sign(None, True)}, {}):
            self.books.signs = sign
            self.held = held()
            self.pulse.add(self.held, time.monotonic())
            self.assertIsInstance(self.reason(), errors.Gone)
            self.pulse.remove(self.held)

    def test_not_yet_locked(self) -> None:
        """C25: a run that waits for its turn has no lock to lose."""
        self.books.signs = {"i": Sign("another", False)}
        self.pulse.add(self.held, time.monotonic())
        self.looks(3)
        self.assertIsNone(self.held.token.reason)

    def test_taken_over(self) -> None:
        """C25: a run that had the lock and has it no more is told by whom."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.pulse.add(self.held, time.monotonic())
        self.looks(3)
        self.assertIsNone(self.held.token.reason)
        self.books.signs = {"i": Sign("another", False)}
        self.assertRegex(str(self.reason()), "another")

    def test_taken_over_by_another_process(self) -> None:
        """F3: a run that somebody else has taken up is left to him, and undone by nobody here."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.runs.taken = {self.held.id}
        self.pulse.add(self.held, time.monotonic())
        self.assertIsInstance(self.reason(), errors.LockLost)
        self.assertRaises(errors.LockLost, self.held.token.sure)

    def test_asked_to_cancel(self) -> None:
        """C27: by whoever wrote the reason into the list of runs."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.runs.reasons = {self.held.id: "no longer wanted."}
        self.pulse.add(self.held, time.monotonic())
        self.assertEqual("no longer wanted.", str(self.reason()))
        self.held.token.sure()

    def test_a_database_that_is_away(self) -> None:
        """C25: the pulse goes on when it is back; runs are not stopped for it."""
        self.books.away = True
        self.pulse.add(self.held, time.monotonic())
        self.looks(3)
        self.assertIsNone(self.held.token.reason)
        self.books.away, self.books.signs = False, {"i": Sign(None, True)}
        self.assertIsInstance(self.reason(), errors.Gone)

    def test_messages_are_told_once(self) -> None:
        """C26: a renewal says how far a run is, if there is news."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.held.board.begin("s", 0)
        self.pulse.add(self.held, time.monotonic())
        self.looks(6)
        said = [messages[self.held.id] for messages in self.books.renewed]
        self.assertEqual("s: 100% (0 MiB of 0 MiB)", said[0])
        self.assertEqual({None}, set(said[1:]))

    def test_closing(self) -> None:
        """The thread ends, with runs or without."""
        self.pulse.add(self.held, time.monotonic())
        self.pulse.close()
        self.assertFalse(self.pulse._thread.is_alive())

    def test_closing_at_the_worst_moment(self) -> None:
        """The thread ends, too, when it is told to while it is about to wait for work."""
        closing = threading.Thread(target=self.pulse.close, daemon=True)
        clear = self.pulse._work.clear

        def slow() -> None:
            closing.start()
            self.pulse._stop.wait(0.2)
            clear()

        self.pulse._work.clear = slow  # type: ignore[method-assign]
        self.pulse._work.set()
        self.pulse._thread.join(5)
        self.assertFalse(self.pulse._thread.is_alive())
        closing.join()
