"""The laws of flows as assertions, for the library's tests and for those of plugins."""

import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

from taskflow import atom
from taskflow import flow as taskflow_flow
from taskflow.patterns import linear_flow

from glance_flows import errors
from glance_flows.flow import Flow, FlowSpec, series
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.task import Task
from glance_flows.testing.world import World, make_conf


class Fuse(Task):
    """Blows: fails the flow when it is reached."""

    def execute(self) -> None:
        """Fail."""
        raise errors.TaskFailed(f"blown after {self.qualifier}")


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

    def _fusible(self, spec: FlowSpec) -> list[str]:
        admit = spec.factory.admit
        resolved = admit(spec, self.services, None) if admit else spec
        return [name for name, task in tasks_of(resolved.build()) if not getattr(task, "irreversible", False)]


def tasks_of(flow: Flow) -> list[tuple[str, atom.Atom]]:
    """Return the tasks of a flow and of the flows in it, by name, in the order they were added."""
    found: list[tuple[str, atom.Atom]] = []
    for part in flow:
        found += tasks_of(part) if isinstance(part, taskflow_flow.Flow) else [(part.name, part)]
    return found


def fused(flow: Flow, after: str) -> Flow:
    """Return a copy of a flow with a fuse right after the task of that name."""
    copy = type(flow)(flow.name, retry=flow.retry)
    for part in flow:
        if isinstance(part, taskflow_flow.Flow):
            copy.add(fused(part, after))
        elif part.name != after:
            copy.add(part)
        elif isinstance(flow, linear_flow.Flow):
            copy.add(part, Fuse(after))
        else:
            copy.add(series(f"fused-{after}", part, Fuse(after)))
    return copy
