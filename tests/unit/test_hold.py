"""Holding what a run has claimed."""

from unittest import mock

from glance_flows.tasks.hold import Hold
from tests import base


class HoldTest(base.TestCase):
    """The lease is 1000 seconds: nothing is renewed beside the test."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 5000.0
        self.asked = 0
        patcher = mock.patch("glance_flows.tasks.hold.time.monotonic", lambda: self.now)
        patcher.start()
        self.addCleanup(patcher.stop)

    def renew(self) -> list[str]:
        self.asked += 1
        return ["a"]

    def test_claims_of_unknown_age_are_renewed_first(self) -> None:
        """R8: nothing is assumed."""
        with Hold(self.renew, 1000) as hold:
            self.assertEqual(1, self.asked)
            self.assertEqual([True, False], [hold.sure("a"), hold.sure("b")])
        self.assertEqual(1, self.asked)

    def test_claims_that_were_just_made(self) -> None:
        """R8, S14: they are not renewed at once, but long before they run out."""
        with Hold(self.renew, 1000, (["a", "b"], self.now - 100)) as hold:
            self.now += 399
            self.assertEqual([True, True, False], [hold.sure(each) for each in ("a", "b", "c")])
            self.assertEqual(0, self.asked)
            self.now += 2
            self.assertEqual([True, False], [hold.sure("a"), hold.sure("b")])
            self.assertEqual(1, self.asked)

    def test_a_process_that_stood_still_after_its_claims(self) -> None:
        """R8: they may be somebody else's by now."""
        with Hold(self.renew, 1000, (["a", "b"], self.now - 2000)) as hold:
            self.assertFalse(hold.sure("b"))
