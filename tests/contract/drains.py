"""Conductors that are told to stop; mixed with :class:`ConductorCase`."""

import time
from typing import Any

from glance_flows.flows import copy_image
from tests.contract.conductors import DATA, LONGER, ConductorProcess
from tests.contract.worlds import eventually


class Drains:
    """SIGTERM: what is in hand is given back, and another conductor goes on."""

    def stopping(self: Any) -> tuple[str, ConductorProcess]:
        """Tell a conductor to stop in the middle of a copy to s3, s2 being done; return the run and the conductor."""
        processes = [self.conduct_gated(host) for host in ("a", "b")]
        self.ready(*processes)
        self.shut("s3")
        run_id = str(self.runner.post(copy_image(self.world.image(DATA), to=["s2", "s3"])).id)
        self.stands("s3")
        eventually(lambda: self.task(run_id, "upload:s2") == "SUCCESS", "s2 is done")
        victim, _ = self.worker(run_id)
        victim.stop()
        return run_id, victim

    def assert_given_back(self: Any, run_id: str, victim: ConductorProcess) -> None:
        """Another conductor finished the run, and did nothing that was done."""
        self.over(run_id)
        self.assertNotEqual(victim.host, self.worker(run_id)[0].host)
        self.assertEqual(["s2", "s3"], sorted(each["store"] for each in self.happened("image.upload")))
        self.assertEqual(1, len(self.happened("image.import.start")))
        self.assertWhole(run_id)

    def test_what_is_in_hand_ends(self: Any) -> None:
        """F5: a task that ends in time is done; the run is given back, and nobody waits for a lease to run out."""
        run_id, victim = self.stopping()
        eventually(lambda: self.state_of(victim) == "draining", "it says that it stops")
        self.open("s3")
        self.assertEqual(0, victim.end(), victim.err)
        self.assertIsNone(self.state_of(victim))
        self.assert_given_back(run_id, victim)

    def test_what_hangs_is_given_up(self: Any) -> None:
        """F5: a store that hangs keeps a conductor no longer than stop_grace; what is done is not done again."""
        run_id, victim = self.stopping()
        image_id, asked = self.record(run_id).image_id, time.monotonic()
        before = self.mark(image_id, "s2")
        self.assertEqual(0, victim.end(), victim.err)
        self.assertLess(time.monotonic() - asked, self.services.conf.glance_flows.stop_grace + LONGER)
        self.assertIn(f"Runs given back in the middle of a task: {run_id}", victim.err)
        self.assertIsNone(self.state_of(victim))
        self.open("s3")
        self.assert_given_back(run_id, victim)
        self.assertEqual(before, self.mark(image_id, "s2"))
        (other,) = [each for each in self.conductors if each is not victim]
        other.stop()
        self.assertEqual(0, other.end(), other.err)
        self.assertEqual([], self.services.persistence.conductors.all())

    def state_of(self: Any, process: ConductorProcess) -> str | None:
        """Return what a conductor says of itself; None once it has left the list."""
        found = [each.state for each in self.services.persistence.conductors.all() if each.host == process.host]
        return found[0] if found else None
