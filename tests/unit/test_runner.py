"""The runner: admits, runs, tells how it ended, and waits for its runs when it closes."""

import threading
from typing import Any

from glance_flows import errors
from glance_flows.flow import Flow, FlowSpec
from glance_flows.flows import copy_image, delete_image
from glance_flows.runner import Runner
from tests.contract.flows import DATA
from tests.contract.worlds import PATIENCE, FlowCase


class _Broken(Runner):
    def build(self, spec: FlowSpec) -> Flow:
        raise RuntimeError("no route to s3://key:secret@host")


class TestRunner(FlowCase):
    def test_here_and_in_the_background(self) -> None:
        """F1: run waits for the result, submit returns at once."""
        image_id = self.world.image(DATA)
        self.assertEqual(["s2"], self.runner.run(copy_image(image_id, to=["s2"]))["tally"]["done"])
        held = self.hold("m1")
        run = self.runner.submit(copy_image(image_id, to=["m1"]))
        self.reached(held)
        self.assertFalse(run.wait(0))
        held.hold.set()
        self.assertEqual(["m1"], run.result(PATIENCE)["tally"]["done"])

    def test_closing_waits(self) -> None:
        """C12: a runner that is closed sees its runs through."""
        image_id = self.world.image(DATA)
        runner = Runner(self.make_services())
        held = runner.services.stores.get("m1")
        held.hold.clear()
        run = runner.submit(copy_image(image_id, to=["m1"]))
        self.assertTrue(held.started.wait(PATIENCE))
        closing = threading.Thread(target=runner.close)
        closing.start()
        self.assertTrue(closing.is_alive())
        held.hold.set()
        closing.join(PATIENCE)
        self.assertTrue(run.wait(0))
        self.assertEqual(["s1", "m1"], self.db.images.get(image_id).stores)

    def test_cancelling_all(self) -> None:
        """C27: every run is told, and undone."""
        held = self.hold("m1")
        images = [self.world.image(DATA) for _ in range(3)]
        before = self.world.picture()
        runs = [self.runner.submit(copy_image(image_id, to=["m1"])) for image_id in images]
        self.reached(held)
        self.runner.cancel_all("the host goes down.")
        for run in runs:
            self.assertRaisesRegex(errors.Cancelled, "goes down", run.result, PATIENCE)
        self.assertEqual(before, self.world.picture())

    def test_what_breaks_outside_the_tasks(self) -> None:
        """F2: a run always ends, with an error of ours and without credentials."""
        runner = _Broken(self.make_services())
        self.addCleanup(runner.close)
        run = runner.submit(delete_image(self.world.image(DATA), delayed=True))
        failure = self.assertRaises(errors.TaskFailed, run.result, PATIENCE)
        self.assertNotIn("secret", str(failure))
        self.assertEqual("failure", self.events.of("image.delete.end")[0]["state"])

    def test_more_runs_than_workers(self) -> None:
        """C22: runs beyond max_workers wait for their turn; tasks never wait for a thread that waits for them."""
        self.configure_workers(1)
        images = [self.world.image(DATA) for _ in range(4)]
        for run in [self.runner.submit(copy_image(image_id, to=["s2", "m1", "m2"])) for image_id in images]:
            run.result(PATIENCE)

    def configure_workers(self, count: int) -> None:
        services: Any = self.make_services()
        services.conf.set_override("max_workers", count, group="taskflow_executor")
        self.runner = Runner(services)  # type: ignore[assignment]
        self.addCleanup(self.runner.close)
