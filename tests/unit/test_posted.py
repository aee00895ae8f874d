"""A posted run as whoever posted it holds it (F5)."""

from types import SimpleNamespace
from typing import Any
from unittest import mock

from glance_flows import errors
from glance_flows.flows import copy_image, delete_image
from glance_flows.persistence.records import FAILURE, POSTED, RUNNING, SUCCESS
from glance_flows.posted import Posted
from tests import base
from tests.contract.memory_board import MemoryBoard
from tests.contract.worlds import FlowCase


class TestPosted(base.TestCase):
    """Waiting for a run that is somewhere else."""

    def posted(self, *states: str, error: str | None = None) -> Posted:
        """Return a run that is in one state after the other."""
        patcher = mock.patch("glance_flows.posted._LOOK_SECONDS", 0.001)
        patcher.start()
        self.addCleanup(patcher.stop)
        found = [SimpleNamespace(state=state, error=error) for state in states]
        last = found[-1]
        records: Any = SimpleNamespace(get=lambda run_id: found.pop(0) if found else last)
        return Posted("run", records)

    def test_an_end(self) -> None:
        """F5: its record is the result, once it is over."""
        self.assertEqual(SUCCESS, self.posted(POSTED, RUNNING, SUCCESS).result().state)

    def test_a_failure(self) -> None:
        """F5: the reason of its failure is raised."""
        failure = self.assertRaises(errors.TaskFailed, self.posted(RUNNING, FAILURE, error="no space").result)
        self.assertEqual("no space", str(failure))

    def test_a_limit(self) -> None:
        """F5: a wait with a limit ends with it; the run does not."""
        self.assertFalse(self.posted(RUNNING).wait(0.01))
        self.assertIn("still running", str(self.assertRaises(TimeoutError, self.posted(RUNNING).result, 0)))


class TestPosting(FlowCase):
    """What posting does, on a board in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.board = MemoryBoard()
        vars(self.services)["board"] = self.board

    def test_posting(self) -> None:
        """F5: a posted run is on the list and on the board, and nothing of it has begun."""
        image_id = self.world.image(b"x")
        before = self.world.picture()
        posted = self.runner.post(copy_image(image_id, to=["s2"]), priority="high")
        self.assertEqual((POSTED, image_id), (posted.record.state, posted.record.image_id))
        job = self.board.jobs[posted.id]
        self.assertEqual(("high", ["s2"]), (job.priority, list(job.details["needs"]["stores"])))
        self.assertEqual(before, self.world.picture())

    def test_a_board_that_is_away(self) -> None:
        """F5: a run is posted without the board, too; conductors look into the list of runs."""
        self.board.away = True
        posted = self.runner.post(delete_image(self.world.image(b"x")))
        self.assertEqual(POSTED, posted.record.state)
        self.assertIn("is not on the board yet", self.logged.output)

    def test_a_board_with_many_jobs(self) -> None:
        """F5: a new run does not go before those that wait for room on the board."""
        self.services.conf.set_override("jobboard_window", 4, "glance_flows")
        posted = [self.runner.post(delete_image(self.world.image(b"x"))).id for _ in range(4)]
        self.assertEqual(posted[:2], self.board.posted)
        self.assertEqual(4, self.services.persistence.postings.count())

    def test_refusals(self) -> None:
        """F5, C2: a request that is refused, or cannot be left to others, leaves nothing."""
        image_id = self.world.image(b"x")
        cases = (
            (errors.BadRequest, lambda: self.runner.post(delete_image(image_id), priority="urgent")),
            (errors.StoreUnavailable, lambda: self.runner.post(copy_image(image_id, to=["nowhere"]))),
            (errors.NotFound, lambda: self.runner.post(delete_image("no-such-image"))),
        )
        for kind, call in cases:
            self.assertRaises(kind, call)
        self.services.persistence.ready()
        self.assertEqual(([], {}), (self.services.persistence.records.page(), self.board.jobs))

    def test_without_a_board(self) -> None:
        """D2, F5: posting needs a jobboard, and says which option names it."""
        del vars(self.services)["board"]
        failure = self.assertRaises(errors.ConfigurationError, self.runner.post, delete_image(self.world.image(b"x")))
        self.assertIn("[glance_flows] jobboard_url is not set", str(failure))

    def test_cancelling(self) -> None:
        """C27, F5: a run that waits is asked to stop by its handle, and nothing more to ask is told."""
        posted = self.runner.post(delete_image(self.world.image(b"x")))
        self.assertTrue(posted.cancel("enough"))
        self.assertEqual("enough", posted.record.cancel_reason)
        self.services.persistence.records.end(posted.id, posted.record.holder, FAILURE, "enough", [])
        self.assertFalse(posted.cancel())
