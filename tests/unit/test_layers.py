"""The floors of the library: a file imports only what lies below it."""

import pathlib
import tempfile

from tests import base, source
from tests.source import Import, Module

FLOORS = {
    "errors": 0,
    "identity": 0,
    "states": 0,
    "version": 0,
    "flow": 1,
    "images": 1,
    "lease": 1,
    "opts": 1,
    "policy": 1,
    "ports": 1,
    "request": 1,
    "sessions": 1,
    "task": 1,
    "board": 2,
    "coordination": 2,
    "db": 2,
    "notify": 2,
    "drawing": 2,
    "persistence": 2,
    "stores": 2,
    "tasks": 2,
    "methods": 3,
    "services": 3,
    "flows": 4,
    "placement": 4,
    "posted": 5,
    "progress": 4,
    "transfer": 4,
    "listeners": 5,
    "run": 5,
    "execution": 5,
    "resumption": 5,
    "runner": 5,
    "conductor": 6,
    "dispersal": 6,
    "pages": 6,
    "reconciler": 6,
    "quickstart": 6,
    "audit": 6,
    "scrubber": 6,
    "testing": 6,
    "api": 7,
    "cli": 7,
}

# Rooms that may import a named neighbour on their own floor; each is an agreed exception, one way only.
BESIDE = {
    "states": {"errors"},
    "policy": {"images"},
    "ports": {"images"},
    "task": {"lease"},
    "runner": {"listeners", "posted", "run", "execution", "resumption"},
    "execution": {"run"},
    "resumption": {"run"},
    "listeners": {"run"},
    "services": {"methods"},
    "transfer": {"flows"},
    "conductor": {"audit", "pages", "reconciler"},
    "dispersal": {"pages", "scrubber"},
}

# What a plugin builds on, besides the facade `glance_flows` itself.
PUBLIC = {"errors", "flow", "flows", "images", "methods", "states", "task", "tasks", "testing"}

FACADE = "glance_flows"


def target(found: Import, names: set[str]) -> str:
    """The module that an import reaches: `from a import b` is `a.b` where that is a module."""
    submodule = f"{found.module}.{found.name}"
    return submodule if submodule in names else found.module


def room(name: str) -> str | None:
    """The room of a module of the library; None for the facade."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def unplaced(modules: list[Module], floors: dict[str, int]) -> list[str]:
    """Rooms that the table of floors does not know."""
    rooms = {room(m.name) for m in modules} - {None}
    return [
        f"{name} stands on no floor: add it to FLOORS in tests/unit/test_layers.py"
        for name in sorted(str(r) for r in rooms)
        if name not in floors
    ]


def climbing(modules: list[Module], floors: dict[str, int], beside: dict[str, set[str]]) -> list[str]:
    """Imports of the same floor or a higher one, and core modules that import the facade."""
    names = {m.name for m in modules}
    wrong = []
    for module in modules:
        own = room(module.name)
        if own is None or own not in floors:
            continue
        for found in module.imports():
            if found.module.partition(".")[0] != FACADE:
                continue
            other = room(target(found, names))
            where = f"{module.name}:{found.line}"
            if other is None:
                wrong.append(f"{where} imports the facade, which imports it")
            elif other == own or other in beside.get(own, set()):
                continue
            elif floors.get(other, 99) >= floors[own]:
                wrong.append(
                    f"{where} ({own}, floor {floors[own]}) imports {other} (floor {floors.get(other, 'unknown')})"
                )
    return wrong


def importers(modules: list[Module], package: str, allowed: str | None = None) -> list[str]:
    """Modules outside the room `allowed` that import `package` in any form."""
    return [
        f"{m.name}:{i.line} imports {package}"
        for m in modules
        for i in m.imports()
        if i.module.partition(".")[0] == package and (allowed is None or room(m.name) != allowed)
    ]


def trespassing(plugins: list[Module], library: list[Module], public: set[str]) -> list[str]:
    """Imports by plugins of rooms of the library that are not public."""
    names = {m.name for m in library}
    wrong = []
    for plugin in plugins:
        for found in plugin.imports():
            if found.module.partition(".")[0] != FACADE:
                continue
            other = room(target(found, names))
            if other is not None and other not in public:
                wrong.append(f"{plugin.name}:{found.line} imports {FACADE}.{other}")
    return wrong


def cycles(modules: list[Module]) -> list[str]:
    """Import cycles between modules, wherever in a file the import stands."""
    names = {m.name for m in modules}
    edges = {m.name: sorted({target(i, names) for i in m.imports()} & names - {m.name}) for m in modules}
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in edges[name]:
                visit(other, [*trail, name])
            done.add(name)

    for name in sorted(names):
        visit(name, [])
    return found


class LayersTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.library = source.modules(source.LIBRARY)
        self.plugins = source.modules(source.PLUGINS)

    def test_the_tree_is_found(self) -> None:
        self.assertIn("glance_flows.errors", {m.name for m in self.library})
        self.assertIn("plugins.glance_flows_plugins", {m.name for m in self.plugins})

    def test_every_room_has_a_floor(self) -> None:
        self.assertEqual([], unplaced(self.library, FLOORS))

    def test_imports_go_down(self) -> None:
        self.assertEqual([], climbing(self.library, FLOORS, BESIDE))

    def test_only_stores_imports_glance_store(self) -> None:
        self.assertEqual([], importers(self.library, "glance_store", allowed="stores"))
        self.assertEqual([], importers(self.plugins, "glance_store"))

    def test_the_core_does_not_know_the_plugins(self) -> None:
        self.assertEqual([], importers(self.library, "glance_flows_plugins"))

    def test_plugins_import_public_rooms(self) -> None:
        self.assertEqual([], trespassing(self.plugins, self.library, PUBLIC))

    def test_no_cycles(self) -> None:
        self.assertEqual([], cycles(self.library))


class CheckersTest(base.TestCase):
    """The checkers on a tree made to break each rule: one that finds nothing would pass for ever."""

    FLOORS: dict[str, int] = {"errors": 0, "db": 2, "stores": 2, "tasks": 2, "run": 5, "runner": 5}

    def modules(self, files: dict[str, str], package: str = FACADE) -> list[Module]:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        root = pathlib.Path(scratch.name, package)
        for name, text in {"__init__.py": "", **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return source.modules(root)

    def climbs(self, files: dict[str, str], beside: dict[str, set[str]] | None = None) -> list[str]:
        db = {"db/__init__.py": "", "db/api.py": "", "errors.py": "", "run.py": ""}
        return climbing(self.modules({**db, **files}), self.FLOORS, beside or {})

    def test_downwards_and_within_a_room_is_fine(self) -> None:
        self.assertEqual(
            [],
            self.climbs(
                {
                    "db/api.py": "from glance_flows.db import models\nfrom . import models as m",
                    "db/models.py": "from glance_flows import errors",
                    "run.py": "import glance_flows.db.api\nimport json",
                }
            ),
        )

    def test_the_facade_may_import_everything(self) -> None:
        self.assertEqual([], self.climbs({"__init__.py": "from glance_flows.run import x"}))

    def test_every_form_of_import_is_seen(self) -> None:
        for text in (
            "import glance_flows.db.api",
            "from glance_flows import db",
            "from glance_flows.db import api",
            "from glance_flows.db.api import Session",
            "from .db import api",
            "from . import db",
            "def work():\n    from glance_flows.db import api",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import glance_flows.db",
        ):
            with self.subTest(text):
                wrong = self.climbs({"errors.py": text})
                self.assertEqual(1, len(wrong), wrong)
                self.assertIn("imports db (floor 2)", wrong[0])

    def test_relative_imports_in_a_package(self) -> None:
        self.assertEqual(1, len(self.climbs({"db/api.py": "from ..run import Run"})))
        self.assertEqual(1, len(self.climbs({"db/__init__.py": "from ..run import Run"})))

    def test_tasks_do_not_import_services(self) -> None:
        self.assertEqual(
            ["glance_flows.tasks.data:1 (tasks, floor 2) imports db (floor 2)"],
            self.climbs({"tasks/__init__.py": "", "tasks/data.py": "from glance_flows.db import x"}),
        )

    def test_a_neighbour_only_where_agreed(self) -> None:
        files = {"runner.py": "from glance_flows.run import Run"}
        self.assertEqual(1, len(self.climbs(files)))
        self.assertEqual([], self.climbs(files, {"runner": {"run"}}))

    def test_a_core_module_that_imports_the_facade(self) -> None:
        self.assertIn("facade", self.climbs({"run.py": "from glance_flows import Runner"})[0])
        self.assertIn("facade", self.climbs({"run.py": "import glance_flows"})[0])

    def test_an_unknown_room_is_named(self) -> None:
        wrong = unplaced(self.modules({"errors.py": "", "attic/__init__.py": ""}), self.FLOORS)
        self.assertEqual(1, len(wrong))
        self.assertIn("attic stands on no floor: add it", wrong[0])

    def test_importers(self) -> None:
        found = self.modules(
            {
                "stores.py": "import glance_store.backend",
                "errors.py": "def f():\n    from glance_store import exceptions",
                "db.py": "import glance_storefront",
            }
        )
        self.assertEqual(
            ["glance_flows.errors:2 imports glance_store"],
            importers(found, "glance_store", allowed="stores"),
        )

    def test_trespassing(self) -> None:
        library = self.modules({"task.py": "", "db/__init__.py": "", "db/api.py": ""})
        plugins = self.modules(
            {
                "good.py": "from glance_flows import task\nfrom glance_flows import ImportMethod",
                "bad.py": "from glance_flows.db.api import Images\nfrom glance_flows import db",
            },
            package="some_plugins",
        )
        self.assertEqual(
            [
                "some_plugins.bad:1 imports glance_flows.db",
                "some_plugins.bad:2 imports glance_flows.db",
            ],
            trespassing(plugins, library, {"task"}),
        )

    def test_cycles(self) -> None:
        found = self.modules(
            {
                "a.py": "from glance_flows import b",
                "b.py": "def late():\n    from glance_flows.c import x",
                "c.py": "import glance_flows.a",
                "d.py": "from glance_flows import a",
            }
        )
        self.assertEqual(["glance_flows.a -> glance_flows.b -> glance_flows.c -> glance_flows.a"], cycles(found))

    def test_a_package_that_gathers_its_modules_is_no_cycle(self) -> None:
        found = self.modules(
            {
                "db/__init__.py": "from glance_flows.db.api import Images",
                "db/api.py": "from glance_flows.db import models",
                "db/models.py": "",
            }
        )
        self.assertEqual([], cycles(found))
