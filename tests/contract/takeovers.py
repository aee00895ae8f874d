"""A conductor that dies or stands still in the middle of a copy; mixed with :class:`ConductorCase`."""

import os
import signal
import time
from typing import Any

from glance_flows.flows import copy_image
from tests.contract.conductors import DATA, LEASE, LONGER, ConductorProcess
from tests.contract.worlds import eventually


class Takeovers:
    """Three conductors, of which one has the copy."""

    def three(self: Any) -> list[ConductorProcess]:
        processes = [self.conduct_gated(host) for host in ("a", "b", "c")]
        self.ready(*processes)
        return processes

    def copying(self: Any, image_id: str) -> str:
        """Post a copy to s2 and s3, and return its id once s2 is done and s3 stands still."""
        self.shut("s3")
        run_id = str(self.runner.post(copy_image(image_id, to=["s2", "s3"])).id)
        self.stands("s3")
        eventually(lambda: self.task(run_id, "upload:s2") == "SUCCESS", "s2 is done")
        return run_id

    def test_killed(self: Any) -> None:
        """F5, C19: kill -9 in the middle of a copy; another has it within the lease, and redoes no finished store."""
        self.three()
        image_id = self.world.image(DATA)
        run_id = self.copying(image_id)
        before = self.mark(image_id, "s2")
        victim, _ = self.worker(run_id)
        victim.kill()
        killed = time.monotonic()
        self.open("s3")
        self.over(run_id)
        self.assertLess(time.monotonic() - killed, LEASE + LONGER)
        self.assertNotEqual(victim.host, self.worker(run_id)[0].host)
        self.assertEqual(before, self.mark(image_id, "s2"))
        self.assertEqual(["s2", "s3"], sorted(each["store"] for each in self.happened("image.upload")))
        self.assertEqual(DATA, self.bytes_in(image_id, "s3"))
        (record,) = self.services.persistence.records.page()
        self.assertEqual((run_id, "success"), (record.id, record.state))
        self.assertWhole(run_id)

    def test_only_the_worker_killed(self: Any) -> None:
        """F5: the process that replaces it is another conductor, and goes on like any other."""
        process = self.conduct_gated("a")
        self.ready(process)
        image_id = self.world.image(DATA)
        run_id = self.copying(image_id)
        before = self.mark(image_id, "s2")
        _, pid = self.worker(run_id)
        os.kill(pid, signal.SIGKILL)
        self.open("s3")
        self.over(run_id, within=LEASE + 2 * LONGER)
        self.assertNotEqual(pid, self.worker(run_id)[1])
        self.assertEqual(before, self.mark(image_id, "s2"))
        self.assertWhole(run_id)

    def test_frozen(self: Any) -> None:
        """F5, C25: one that stood still past its lease does no harm when it goes on, and goes on with other runs."""
        self.three()
        image_id = self.world.image(DATA)
        run_id = self.copying(image_id)
        sleeper, pid = self.worker(run_id)
        (entry,) = [each for each in self.listed() if each["host"] == sleeper.host]
        self.assertEqual([run_id], [each["run"] for each in entry["runs"]])
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(_go_on, pid)
        eventually(lambda: self.shown(sleeper.host) is None, "it has been silent for a lease")
        self.open("s3")
        self.over(run_id, within=LEASE + LONGER)
        self.assertNotEqual(sleeper.host, self.worker(run_id)[0].host)
        places, marks = self.places(image_id), [self.mark(image_id, store) for store in ("s2", "s3")]
        _go_on(pid)
        sleeper.says(f"Run {run_id} is over here")
        self.assertIn("was taken over by another process", sleeper.err)
        self.assertEqual((places, marks), (self.places(image_id), [self.mark(image_id, s) for s in ("s2", "s3")]))
        self.assertEqual("success", self.record(run_id).state)
        for other in self.conductors:
            if other is not sleeper:
                other.stop()
                self.assertEqual(0, other.end(), other.err)
        later = self.runner.post(copy_image(self.world.image(DATA), to=["s2"]))
        self.over(later.id)
        self.assertEqual((sleeper, pid), self.worker(later.id))
        self.assertEqual(DATA, self.bytes_in(image_id, "s3"))
        self.assertWhole(run_id, later.id)

    def places(self: Any, image_id: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.rows("image_locations", image_id=image_id)
        return sorted(rows, key=lambda row: int(row["id"]))


def _go_on(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
