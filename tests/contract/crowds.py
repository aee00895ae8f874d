"""Many runs on conductors that are killed again and again; mixed with :class:`ConductorCase`."""

import os
import random
from typing import Any

from glance_flows import states
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, delete_image
from glance_flows.persistence.records import SUCCESS
from tests.contract.conductors import ConductorProcess
from tests.contract.worlds import eventually

JOBS = int(os.environ.get("GLANCE_FLOWS_CONDUCTOR_JOBS", "120"))
KILLS = int(os.environ.get("GLANCE_FLOWS_CONDUCTOR_KILLS", str(max(3, JOBS // 100))))
SMALL = b"4 KiB of an image " * 228


class Crowds:
    """Copies and deletions, each of its own image."""

    def test_killed_again_and_again(self: Any) -> None:
        """F5: kill -9 at random moments; every run comes to its end once, and every image is as it should be."""
        chance = random.Random(JOBS)
        copied = [self.world.image(SMALL) for _ in range(JOBS - JOBS // 4)]
        deleted = [self.world.image(SMALL) for _ in range(JOBS // 4)]
        specs: list[FlowSpec] = [copy_image(each, to=["s2"]) for each in copied]
        specs += [delete_image(each, delayed=False) for each in deleted]
        chance.shuffle(specs)
        runs = [self.runner.post(spec).id for spec in specs]
        alive = [self.conduct(host) for host in ("a", "b", "c")]
        for done in sorted(chance.sample(range(JOBS), KILLS)):
            eventually(lambda done=done: self.count() >= done, f"{done} runs are over", self.patience)
            self.replace(alive, chance.randrange(len(alive)))
        self.over(*runs, within=self.patience)
        self.assertEqual(JOBS, self.count())
        self.assertWhole(*runs)
        for image_id in copied:
            self.assertEqual(SMALL, self.bytes_in(image_id, "s2"))
            self.assertEqual(["s1", "s2"], self.db.images.get(image_id).stores)
        left = [each for each in deleted if self.stores_with(each) or self.status(each) != states.DELETED]
        self.assertEqual([], left)
        self.assert_told_once(runs)

    @property
    def patience(self) -> float:
        return 60 + JOBS / 2

    def count(self: Any) -> int:
        """Return how many of the posted runs have succeeded."""
        return int(self.services.persistence.postings.count(SUCCESS))

    def replace(self: Any, alive: list[ConductorProcess], number: int) -> None:
        """Kill a conductor and start another one on its host."""
        host = alive[number].host
        alive[number].kill()
        alive[number] = self.conduct(host)

    def status(self: Any, image_id: str) -> str:
        (row,) = self.rows("images", id=image_id)
        return str(row["status"])

    def assert_told_once(self: Any, runs: list[str]) -> None:
        """Whoever ended a run said so; only those that were killed right then did not."""
        ends = [each for kind in ("import", "delete") for each in self.happened(f"image.{kind}.end")]
        self.assertEqual({"success"}, {each["state"] for each in ends})
        told = {each["run"] for each in ends}
        self.assertEqual(len(ends), len(told))
        self.assertLessEqual(told, set(runs))
        self.assertLessEqual(len(runs) - len(told), KILLS * self.services.conf.taskflow_executor.max_workers)
