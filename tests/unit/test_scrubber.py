"""How large the pages of a pass are, and how a pass stops at an awkward moment."""

from unittest import mock

from glance_flows import errors
from glance_flows.flow import FlowSpec
from glance_flows.pages import Pages
from glance_flows.run import Run
from glance_flows.scrubber import Scrubber
from tests.contract.scrubs import Pendings
from tests.unit.test_dispersal import page_of


def cancelled(spec: FlowSpec) -> Run:
    """Return a run that was cancelled right before its first task."""
    run = Run(spec)
    run.cancel("it is to stop.")
    run.end(failure=run.token.reason)
    return run


class TestStops(Pendings):
    """S6: a stop between the look and the claim."""

    def test_a_pass(self) -> None:
        """S6: the pass ends with a report, and holds nothing to be in others' hands."""
        self.pending("m1")
        before = self.world.picture()
        scrubber = Scrubber(self.runner)

        def submit(spec: FlowSpec) -> Run:
            scrubber.stop()
            return cancelled(spec)

        with mock.patch.object(self.runner, "submit", submit):
            report = scrubber.run_pass()
        self.assertEqual((True, 0, 0, 0), (report.stopped, report.images, report.failed, report.held))
        self.assertEqual(before, self.world.picture())

    def test_a_conductor(self) -> None:
        """S6: a page that is not begun has no failures, and is given back."""
        page = page_of(self.runner, self.pending("m1"))
        with mock.patch.object(self.runner, "submit", cancelled):
            report = Pages(self.runner)._done(page)
        removed = report["removed"]
        self.assertEqual((False, 0, [], []), (report["done"], removed["images"], removed["failures"], report["held"]))


class TestPace(Pendings):
    """S14, S15: pages take a few seconds, whatever the stores do."""

    def paced(self, at: int, *pages: tuple[float, int, int]) -> int:
        """Return how large pages are after these, given their seconds, what they did, and what they were to do."""
        scrubber = Scrubber(self.runner)
        scrubber._page = at
        for page in pages:
            scrubber._pace(*page)
        return scrubber._page

    def test_alone(self) -> None:
        """S14: pages grow quickly and shrink quickly, and are never empty."""
        self.assertEqual(160, self.paced(20, (0.1, 20, 20)))
        self.assertEqual(1000, self.paced(500, (0.5, 500, 500)))
        self.assertEqual(250, self.paced(500, (60, 500, 500)))
        self.assertEqual(1, self.paced(1, (60, 1, 1)))

    def test_many_at_once(self) -> None:
        """S14: what the pages tell that were posted together is not taken for one after the other."""
        self.assertEqual(160, self.paced(20, *[(0.1, 20, 20)] * 8))
        self.assertEqual(80, self.paced(160, *[(60.0, 160, 160)] * 8))

    def test_others_had_a_part(self) -> None:
        """S14: a page does not look quick because others did it."""
        self.assertEqual(100, self.paced(100, (0.001, 0, 100)))
        self.assertEqual(100, self.paced(100, (0.1, 40, 100)))
        self.assertEqual(20, self.paced(100, (5.0, 40, 100)))

    def test_a_small_page(self) -> None:
        """S14: the last page of a part of the pass is small, and no reason for small ones."""
        self.assertEqual(900, self.paced(900, (0.001, 3, 3)))

    def test_a_pass_whose_images_others_have(self) -> None:
        """S14: the pass goes on with pages as they were."""
        self.pending("m1")
        scrubber = Scrubber(self.runner)
        page = scrubber._page
        with mock.patch.object(self.db.pending, "claim", return_value=[]):
            self.assertEqual(0, scrubber.run_pass().images)
        self.assertEqual(page, scrubber._page)

    def test_a_database_that_fails(self) -> None:
        """S11: that is no stop."""
        self.pending("m1")
        with mock.patch.object(self.db.pending, "claim", side_effect=errors.DatabaseError("it is away.")):
            self.assertRaises(errors.DatabaseError, Scrubber(self.runner).run_pass)
