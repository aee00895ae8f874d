"""The handle of a run."""

from glance_flows import errors
from glance_flows.flows import delete_image
from glance_flows.run import Run
from tests import base


class TestRun(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.held = Run(delete_image("i"))

    def test_while_it_runs(self) -> None:
        """C26: it has an id, an image, no error, and whoever waits too shortly is told so."""
        self.assertEqual(("i", "running", None), (self.held.image_id, self.held.state, self.held.error))
        self.assertNotEqual(self.held.id, Run(delete_image("i")).id)
        self.assertFalse(self.held.wait(0))
        self.assertRaisesRegex(TimeoutError, self.held.id, self.held.result, 0)

    def test_success(self) -> None:
        """C26: its result, and the end of its progress."""
        self.held.end({"a": 1})
        self.assertEqual(({"a": 1}, "success"), (self.held.result(0), self.held.state))
        self.assertEqual(1, len(list(self.held.progress())))

    def test_failure(self) -> None:
        """C12: its error is raised, every time it is asked."""
        self.held.end(failure=errors.StoreFull("full"))
        for _ in range(2):
            self.assertRaises(errors.StoreFull, self.held.result, 0)
        self.assertEqual("failure", self.held.state)

    def test_cancelling(self) -> None:
        """C27: cancelling returns at once and tells the tasks why."""
        self.held.cancel("enough.")
        self.assertRaisesRegex(errors.Cancelled, "enough", self.held.token.check)
        self.assertFalse(self.held.wait(0))
