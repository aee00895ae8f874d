"""Flows are described as values, composed without I/O, and run by an engine that hands them services (F1, F2)."""

import copy
import json
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskflow import task as taskflow_task

from glance_flows import ImportRequest, errors, flow, methods
from glance_flows.flow import FlowSpec, lanes, series
from glance_flows.flows import copy_image, delete_image, import_image
from glance_flows.task import Task
from glance_flows.testing.case import tasks_of
from tests import base

METHODS = {"glance-direct": "uploading", "web-download": "queued", "copy-image": "active"}
_WATCHED = threading.local()
_IO = ("open", "socket.", "sqlite3.", "os.", "subprocess.", "shutil.", "tempfile.", "urllib.")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_WATCHED, "seen", None) is not None and event.startswith(_IO):
        _WATCHED.seen.append((event, arguments))


sys.addaudithook(_watch)


@contextmanager
def io() -> Iterator[list[Any]]:
    """Collect what this thread asks of the operating system."""
    _WATCHED.seen = seen = []
    try:
        yield seen
    finally:
        _WATCHED.seen = None


def admitted(method: str, *stores: str) -> FlowSpec:
    request = ImportRequest("i", method, stores, METHODS[method], "sha512", uri="http://h/x")
    return import_image("i", method=method).replace(resolved=request.to_json())


class Step(Task):
    def execute(self) -> None:
        """Do nothing."""


class TestComposition(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in METHODS:
            # Which classes the entry points name is looked up once in a process, when a runner starts.
            methods.get(name)

    def test_building_does_no_io(self) -> None:
        """F1: describing and building ask nothing of the operating system; the guard itself sees what does."""
        with io() as seen:
            for method in METHODS:
                admitted(method, "a", "b").build()
            delete_image("i", delayed=False).build()
            copy_image("i", to=["a"]).to_json()
        self.assertEqual([], seen)
        with io() as seen, open("/dev/null"):
            pass
        self.assertEqual("open", seen[0][0])

    def test_names_are_deterministic(self) -> None:
        """F1: a flow that is built again has the same tasks, each of a name of its own."""
        for method in METHODS:
            first, second = ([name for name, _ in tasks_of(admitted(method, "a", "b", "c").build())] for _ in range(2))
            self.assertEqual(first, second)
            self.assertEqual(len(first), len(set(first)))
            self.assertEqual({"upload:a", "upload:b", "upload:c"}, {name for name in first if ":" in name})

    def test_tasks_that_change_the_world_can_be_undone(self) -> None:
        """F1: each task has a revert, changes nothing, or says that it is irreversible; those come last."""
        harmless = {"survey", "tally", "adoptstaged", "pin", "publish", "nothingtodo"}
        specs = [*(admitted(method, "a") for method in METHODS), delete_image("i"), delete_image("i", delayed=True)]
        for spec in specs:
            last = False
            for name, task in tasks_of(spec.build()):
                undone = type(task).revert is not taskflow_task.Task.revert
                irreversible = getattr(task, "irreversible", False)
                self.assertTrue(undone or irreversible or name in harmless, f"{spec.flow}: {name}")
                self.assertFalse(last and not irreversible, f"{spec.flow}: {name} comes after an irreversible task")
                last = last or irreversible

    def test_lanes(self) -> None:
        """C22: at most so many rows, every part once, in turns."""
        for width, count in ((1, 3), (2, 5), (4, 4), (8, 3), (3, 0)):
            made = lanes("x", width, [Step(str(number)) for number in range(count)])
            rows = [[task.name for task in row] for row in made]
            self.assertEqual(min(width, count), len(rows))
            self.assertEqual({f"step:{number}" for number in range(count)}, {name for row in rows for name in row})
            self.assertLessEqual(max(map(len, rows), default=0) - min(map(len, rows), default=0), 1)


class TestSpec(base.TestCase):
    def test_a_spec_is_json(self) -> None:
        """F1, F2: what describes a flow goes through JSON and comes back the same."""
        for spec in (copy_image("i", to=["a", "b"]), admitted("web-download", "a"), delete_image("i", delayed=True)):
            again = FlowSpec.from_json(spec.to_json())
            self.assertEqual(spec, again)
            json.loads(spec.to_json())
            self.assertEqual(
                [name for name, _ in tasks_of(spec.build())] if "resolved" in spec.arguments else [],
                [name for name, _ in tasks_of(again.build())] if "resolved" in spec.arguments else [],
            )

    def test_a_spec_does_not_change(self) -> None:
        """F1: neither by assignment nor through what it was made from."""
        stores = ["a"]
        spec = copy_image("i", to=stores)
        stores.append("b")
        self.assertEqual(("a",), spec.arguments["to"])
        self.assertRaises(AttributeError, setattr, spec, "flow", "x")
        with self.assertRaises(TypeError):
            spec.arguments["to"] = []  # type: ignore[index]
        with self.assertRaises(TypeError):
            admitted("web-download", "a").arguments["resolved"]["identity"]["roles"] = ["admin"]
        self.assertRaises(errors.BadRequest, copy_image, "i", to=[object()])
        self.assertRaises(TypeError, copy_image, "i", nonsense=1)

    def test_what_a_spec_gives_away_is_not_its_own(self) -> None:
        """F1: whoever changes what it was given changes nothing else."""
        spec = admitted("web-download", "a", "b")
        before = spec.to_json()
        for given in (spec.plain(), spec.facts()):
            request = given.get("resolved") or given["request"]
            request["stores"].append("c")
            request["identity"]["roles"] = ["admin"]
            given["more"] = 1
        self.assertEqual(before, spec.to_json())
        self.assertEqual(spec, copy.deepcopy(spec))
        self.assertEqual(spec, pickle.loads(pickle.dumps(spec)))

    def test_equality_is_that_of_json(self) -> None:
        """F1: equal specs hash alike, whatever they were made from; true is not 1."""
        nested = {"parameters": {"list": (1, {"k": [None]}), "b": True}, "a": 1}
        same = FlowSpec("x", {"a": 1, "parameters": {"b": True, "list": [1, {"k": (None,)}]}})
        first = FlowSpec("x", nested)
        self.assertEqual((first, hash(first)), (same, hash(same)))
        others = (FlowSpec("y", nested), first.replace(a=2), first.replace(a=True), first.replace(a=1.0), FlowSpec("x"))
        for other in others:
            self.assertNotEqual(first, other)
        self.assertEqual(1 + len(others), len({first, same, *others}))
        self.assertNotEqual(first, first.to_json())

    def test_unknown_flows(self) -> None:
        """C8: a flow that is not there is told with those that are."""
        self.assertRaisesRegex(errors.BadRequest, "copy-image", FlowSpec("no-such").build)

    def test_names_are_taken_once(self) -> None:
        """F1: resume finds a flow by its name, so two of a name are refused."""

        def delete_image() -> Any:
            return series("x")

        delete_image.__module__ = "somebody.elses"
        self.assertRaisesRegex(errors.ConfigurationError, "delete-image", flow(), delete_image)
