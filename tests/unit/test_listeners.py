"""The pulse of running flows (C15, C25, C26)."""

import threading
from typing import Any
from unittest import mock

import fixtures

from glance_flows import errors
from glance_flows.db.claims import Sign
from glance_flows.flows import copy_image
from glance_flows.listeners import Pulse
from glance_flows.run import Run
from tests import base
from tests.contract.worlds import PATIENCE


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


class TestPulse(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        patcher = mock.patch("glance_flows.listeners._LOOK_SECONDS", 0.01)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.books = Books()
        self.pulse = Pulse(self.books, 3, 0.01)  # type: ignore[arg-type]
        self.addCleanup(self.pulse.close)
        self.held = Run(copy_image("i", to=["s"]))

    def looks(self, count: int = 2) -> None:
        """Wait until the pulse has looked so many times more."""
        for _ in range(count):
            self.assertTrue(self.books.asked.acquire(timeout=PATIENCE))

    def reason(self) -> Any:
        self.assertTrue(self.held.token.wait(PATIENCE), "the run was not told")
        return self.held.token.reason

    def test_gone(self) -> None:
        """C15: a run is told that its image was deleted, or purged."""
        for sign in ({"i": Sign(None, True)}, {}):
            self.books.signs = sign
            self.held = Run(copy_image("i", to=["s"]))
            self.pulse.add(self.held)
            self.assertIsInstance(self.reason(), errors.Gone)
            self.pulse.remove(self.held)

    def test_not_yet_locked(self) -> None:
        """C25: a run that waits for its turn has no lock to lose."""
        self.books.signs = {"i": Sign("another", False)}
        self.pulse.add(self.held)
        self.looks(3)
        self.assertIsNone(self.held.token.reason)

    def test_taken_over(self) -> None:
        """C25: a run that had the lock and has it no more is told by whom."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.pulse.add(self.held)
        self.looks(3)
        self.assertIsNone(self.held.token.reason)
        self.books.signs = {"i": Sign("another", False)}
        self.assertRegex(str(self.reason()), "another")

    def test_a_database_that_is_away(self) -> None:
        """C25: the pulse goes on when it is back; runs are not stopped for it."""
        self.books.away = True
        self.pulse.add(self.held)
        self.looks(3)
        self.assertIsNone(self.held.token.reason)
        self.books.away, self.books.signs = False, {"i": Sign(None, True)}
        self.assertIsInstance(self.reason(), errors.Gone)

    def test_messages_are_told_once(self) -> None:
        """C26: a renewal says how far a run is, if there is news."""
        self.books.signs = {"i": Sign(self.held.id, False)}
        self.held.board.begin("s", 0)
        self.pulse.add(self.held)
        self.looks(6)
        said = [messages[self.held.id] for messages in self.books.renewed]
        self.assertEqual("s: 100% (0 MiB of 0 MiB)", said[0])
        self.assertEqual({None}, set(said[1:]))

    def test_closing(self) -> None:
        """The thread ends, with runs or without."""
        self.pulse.add(self.held)
        self.pulse.close()
        self.assertFalse(self.pulse._thread.is_alive())
