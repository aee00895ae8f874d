"""The lease of a run: renewed in time, asked for when it is not, and lost for good."""

from unittest import mock

from glance_flows import errors
from glance_flows.lease import Lease
from tests import base


class LeaseTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 100.0
        self.asked = 0
        self.held = True
        patcher = mock.patch("glance_flows.lease.time.monotonic", lambda: self.now)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.lease = Lease(60, self.renew, self.now)

    def renew(self) -> bool:
        self.asked += 1
        return self.held

    def test_a_young_one_asks_nobody(self) -> None:
        self.now += 44
        self.lease.sure()
        self.lease.renewed(self.now)
        self.now += 44
        self.lease.sure()
        self.assertEqual(0, self.asked)

    def test_it_counts_from_when_it_was_asked_for(self) -> None:
        """F5: the process may have stood still between taking a run and knowing that it has it."""
        lease = Lease(60, self.renew, self.now - 50)
        lease.sure()
        self.assertEqual(1, self.asked)

    def test_an_old_one_is_renewed_once(self) -> None:
        self.now += 46
        self.lease.sure()
        self.lease.sure()
        self.assertEqual(1, self.asked)

    def test_a_lost_one_is_lost_for_good(self) -> None:
        self.now += 46
        self.held = False
        self.assertRaises(errors.LockLost, self.lease.sure)
        self.held = True
        self.assertRaises(errors.LockLost, self.lease.sure)
        self.assertEqual(1, self.asked)
        self.assertIsNotNone(self.lease.lost)

    def test_one_that_nobody_can_tell(self) -> None:
        def away() -> bool:
            raise errors.DatabaseError("it is away.")

        lease = Lease(60, away, self.now)
        self.now += 46
        self.assertRaisesRegex(errors.LockLost, "it is away", lease.sure)
