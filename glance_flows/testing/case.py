"""The laws of flows as assertions, for the library's tests and for those of plugins."""

import shutil
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glance_flows import errors
from glance_flows.flow import Flow, FlowSpec, tasks_of
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.testing.fuse import fused
from glance_flows.testing.kill import Attempt, attempt, expire_leases, unfinished
from glance_flows.testing.world import World, make_conf


class FusibleRunner(Runner):
    """Runs flows, while :attr:`after` names a task with a fuse after it."""

    after: str | None = None

    def build(self, spec: FlowSpec) -> Flow:
        """Return the flow, with the fuse where one is wanted."""
        plain = super().build(spec)
        return plain if self.after is None else fused(plain, self.after)


class FlowTestCase(unittest.TestCase):
    """A test with a world in a folder of its own: ``self.world``, ``self.services`` and ``self.runner``.

    Override :meth:`configure` for other stores, another database or other options.
    """

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(tempfile.mkdtemp(prefix="glance-flows-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.services = self.make_services()
        self.runner = FusibleRunner(self.services)
        self.addCleanup(self.runner.close)
        self.world = World(self.services)

    def configure(self) -> dict[str, Any]:
        """Return the options of the world, as :func:`make_conf` takes them."""
        return {}

    def make_services(self) -> Services:
        """Return the services of the world."""
        return Services.from_conf(make_conf(self.root, **self.configure()))

    def assertRevertsCleanly(self, spec: FlowSpec) -> None:
        """Fail the flow after each of its tasks in turn; each time the world must be as it was before (P6).

        Tasks that say they are irreversible are left out: the flow must not fail after them.

        :param spec: a request that would succeed
        """
        names = self._fusible(spec)
        if not names:
            raise AssertionError(f"the flow {spec.flow} has no task that could be undone")
        before = self.world.picture()
        for name in names:
            with self.subTest(after=name):
                self.runner.after = name
                try:
                    run = self.runner.submit(spec)
                    run.wait(60)
                finally:
                    self.runner.after = None
                self.assertIsInstance(run.error, errors.GlanceFlowsError, f"the fuse after {name} did not blow")
                self.assertEqual(f"blown after {name}", str(run.error))
                self.assertEqual([], run.leftovers.items, f"left behind by a failure after {name}")
                self.assertEqual(before, self.world.picture(), f"not as before after a failure after {name}")

    def assertSurvivesKill(
        self, make: Callable[[], FlowSpec], *, fuse: str = "", again: bool = False, every: int = 1
    ) -> int:
        """Kill a run at every point in turn and take it up again; each time the world must be whole (C19, F3).

        Whole is: every run is over; every location has its data and all data a location; no lock, no staged leftover;
        and the image either as before or as after.

        :param make: makes a fresh image and returns a request for it that would succeed
        :param fuse: name of a task after which the flow fails, so that its undoing is killed too
        :param again: kill the resumption as well, at every point of it
        :param every: take only each so many-th point, where all of them take too long
        :return: how many times a process was killed
        """
        self.world.services.persistence.ready()
        conf = str(self.root / "glance-flows.conf")
        points = attempt(Attempt(conf, make().to_json(), None, fuse)) or []
        kills = 0
        for number, point in list(enumerate(points))[every // 2 :: every]:
            with self.subTest(killed=f"{number} {point}"):
                kills += self._kill_once(Attempt(conf, make().to_json(), number, fuse), every if again else 0)
        return kills

    def _kill_once(self, work: Attempt, step: int) -> int:
        self.assertIsNone(attempt(work), "the child lived")
        kills, at = 1, step // 2
        while step:
            expire_leases(self.services)
            if attempt(Attempt(work.conf, "", at, work.fuse)) is not None:
                break
            kills, at = kills + 1, at + step
        expire_leases(self.services)
        ends = [f"{run.id}: {run.state} {run.error}" for run in self._take_up(work.fuse)]
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()], f"after {ends}")
        return kills

    def _take_up(self, fuse: str) -> list[Run]:
        self.runner.after = fuse or None
        try:
            runs = self.runner.resume()
            for run in runs:
                if not run.wait(60):
                    raise AssertionError(f"the resumed run {run.id} does not end")
        finally:
            self.runner.after = None
        return runs

    def _fusible(self, spec: FlowSpec) -> list[str]:
        admit = spec.factory.admit
        resolved = admit(spec, self.services, None) if admit else spec
        return [name for name, task in tasks_of(resolved.build()) if not getattr(task, "irreversible", False)]
