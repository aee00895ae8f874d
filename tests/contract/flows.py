"""What the flows promise, whatever database they run on: concrete classes give them one."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from glance_flows import errors, states
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, delete_image, import_image
from tests.contract.web import WebSite
from tests.contract.worlds import PATIENCE, FlowCase, eventually

DATA = b"some bytes of an image " * 9000


class Flows(FlowCase):
    """The base of both suites: a web site to import from, and images in the state that each method needs."""

    def setUp(self) -> None:
        self.site = WebSite()
        self.site.setUp()
        self.addCleanup(self.site.cleanUp)
        super().setUp()

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "import_filtering_opts": self.site.allow()}

    def spec(self, method: str, image_id: str | None = None, data: bytes = DATA, **arguments: Any) -> FlowSpec:
        """Return an import that would succeed, into ``s2`` and ``m1`` where nothing else is asked for."""
        image_id = image_id or self.ready(method, data)
        arguments.setdefault("stores", ["s2", "m1"])
        if method == "copy-image":
            arguments["to"] = arguments.pop("stores")
            return copy_image(image_id, **arguments)
        if method == "web-download":
            self.site.pages[f"/{image_id}"] = data
            arguments["uri"] = self.site.url(f"/{image_id}")
        return import_image(image_id, method=method, **arguments)

    def ready(self, method: str, data: bytes = DATA, **values: Any) -> str:
        """Make an image that ``method`` can be asked for."""
        image_id = self.world.image(data if method == "copy-image" else None, **values)
        if method == "glance-direct":
            self.world.stage(image_id, data)
        return image_id

    def assertHolds(self, image_id: str, data: bytes, *stores: str) -> None:
        """The image is active, has these bytes in these stores and nowhere else, and no flow holds it (C1, C21)."""
        image = self.db.images.get(image_id)
        self.assertEqual(states.ACTIVE, image.status)
        self.assertEqual(sorted(stores), sorted(image.stores))
        self.assertEqual(sorted(stores), sorted(self.stores_with(image_id)))
        for name in stores:
            self.assertEqual(data, self.bytes_in(image_id, name))
        self.assertEqual(len(data), image.size)
        self.assertEqual(hashlib.md5(data, usedforsecurity=False).hexdigest(), image.checksum)
        self.assertEqual(("sha512", hashlib.sha512(data).hexdigest()), (image.os_hash_algo, image.os_hash_value))
        self.assertNotIn(states.LOCK, image.properties)
        self.assertEqual("", image.properties.get(states.IMPORTING_TO, ""))
        self.assertFalse(self.services.staging.path(image_id).exists())


METHODS = ("glance-direct", "web-download", "copy-image")


def per_method(cls: type) -> type:
    """Make a test of each ``each_…`` method of a class for every import method."""
    for name in [name for name in vars(cls) if name.startswith("each_")]:
        for method in METHODS:
            what = vars(cls)[name]

            def test(self: Any, what: Any = what, method: str = method) -> None:
                what(self, method)

            test.__doc__ = f"{what.__doc__} [{method}]"
            test.__name__ = f"test_{name.removeprefix('each_')}_{method.replace('-', '_')}"
            setattr(cls, test.__name__, test)
    return cls


@per_method
class FlowLaws:
    """Every flow reverts cleanly; mixed with :class:`Flows` by the concrete classes."""

    def each_reverts_cleanly(self: Any, method: str) -> None:
        """P6, F1: the flow fails after each of its tasks in turn and the world is as before."""
        self.assertRevertsCleanly(self.spec(method))

    def each_reverts_cleanly_where_stores_may_fail(self: Any, method: str) -> None:
        """P6, C13: likewise where the image becomes active with the first store."""
        self.assertRevertsCleanly(self.spec(method, all_stores_must_succeed=False))

    def test_delete_reverts_cleanly(self: Any) -> None:
        """P6, S2: a deletion that fails before data is touched leaves the image with all that it had."""
        image_id = self.world.image(DATA, properties={"k": "v"}, tags=("t",))
        self.assertRevertsCleanly(delete_image(image_id, delayed=False))

    def test_delayed_delete_reverts_cleanly(self: Any) -> None:
        """P6, S1: likewise for one that leaves the data to the scrubber."""
        image_id = self.world.image(DATA, properties={"k": "v"}, tags=("t",))
        self.assertRevertsCleanly(delete_image(image_id, delayed=True))


@per_method
class FlowEnds:
    """Imports, copies and deletions from end to end; mixed with :class:`Flows` by the concrete classes."""

    def each_import(self: Any, method: str) -> None:
        """C1, C21, C22, P1: every store has the same bytes, the image its digests and all that was set before."""
        image_id = self.ready(method, name="an emoji \N{ROCKET} name", properties={"k": "v"}, tags=("t",))
        self.runner.run(self.spec(method, image_id))
        self.assertHolds(image_id, DATA, *(["s1"] if method == "copy-image" else []), "s2", "m1")
        image = self.db.images.get(image_id)
        self.assertEqual("an emoji \N{ROCKET} name", image.name)
        self.assertEqual(("v", ("t",)), (image.properties["k"], image.tags))

    def each_import_of_nothing(self: Any, method: str) -> None:
        """C21: an image without a byte is an image like any other."""
        image_id = self.ready(method, b"")
        self.runner.run(self.spec(method, image_id, b""))
        self.assertHolds(image_id, b"", *(["s1"] if method == "copy-image" else []), "s2", "m1")

    def each_import_that_a_store_refuses(self: Any, method: str) -> None:
        """C12: one store fails: nothing of the flow is left in the others, and the image says which it was."""
        spec = self.spec(method)
        image_id = spec.arguments["image_id"]
        before = self.world.picture()
        self.store("m1").fail_add = errors.StoreFull("m1 is full.")
        run = self.runner.submit(spec)
        self.assertRaisesRegex(errors.StoreFull, "m1 is full", run.result, PATIENCE)
        self.assertEqual(before, self.world.picture())
        self.assertEqual("m1", self.prop(image_id, states.FAILED_IMPORT))
        self.assertEqual("", self.prop(image_id, states.IMPORTING_TO))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual((run.id, "failure", "m1 is full."), (task["id"], task["status"], task["message"]))
        self.store("m1").fail_add = None
        self.runner.run(spec)
        self.assertEqual(states.ACTIVE, self.db.images.get(image_id).status)

    def each_import_that_may_lose_a_store(self: Any, method: str) -> None:
        """C13: one store fails where that is allowed: it is listed, the others keep their copies."""
        spec = self.spec(method, all_stores_must_succeed=False)
        image_id = spec.arguments["image_id"]
        self.store("m1").fail_add = errors.StoreFull("m1 is full.")
        self.runner.run(spec)
        self.assertHolds(image_id, DATA, *(["s1"] if method == "copy-image" else []), "s2")
        self.assertEqual("m1", self.prop(image_id, states.FAILED_IMPORT))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual(("success", "Some stores failed: m1 is full."), (task["status"], task["message"]))

    def each_import_that_every_store_refuses(self: Any, method: str) -> None:
        """C14: every store fails although one may: as if none may."""
        spec = self.spec(method, stores=["m1", "m2"], all_stores_must_succeed=False)
        image_id = spec.arguments["image_id"]
        before = self.world.picture()
        for name in ("m1", "m2"):
            self.store(name).fail_add = errors.StoreFull(f"{name} is full.")
        self.assertRaises(errors.NoStoreSucceeded, self.runner.run, spec)
        self.assertEqual(before, self.world.picture())
        self.assertEqual({"m1", "m2"}, set(self.prop(image_id, states.FAILED_IMPORT).split(",")))
        (task,) = self.db.tasks_of(image_id)
        self.assertIn("m1 is full", task["message"])
        self.assertIn("m2 is full", task["message"])

    def each_two_at_once(self: Any, method: str) -> None:
        """C9, C25: of two imports of an image that are admitted together one wins; the other leaves nothing."""
        spec = self.spec(method)
        image_id = spec.arguments["image_id"]
        met = threading.Barrier(2, timeout=PATIENCE)
        build = self.runner.build
        self.runner.build = lambda asked: (met.wait(), build(asked))[1]
        runs = [self.runner.submit(spec), self.runner.submit(spec)]
        for run in runs:
            self.assertTrue(run.wait(PATIENCE))
        (won,) = [run for run in runs if run.error is None]
        (lost,) = [run for run in runs if run.error is not None]
        # The loser finds the lock, or, where it comes a little later, the status that goes with it.
        self.assertIsInstance(lost.error, errors.Conflict)
        self.assertHolds(image_id, DATA, *(["s1"] if method == "copy-image" else []), "s2", "m1")
        self.assertEqual([won.id], [task["id"] for task in self.db.tasks_of(image_id)])

    def test_many_at_once(self: Any) -> None:
        """C1, C25: twenty imports and copies at once in one runner, twice as many as it has workers."""
        specs = [self.spec(method, data=DATA + bytes([n])) for n in range(7) for method in METHODS][:20]
        runs = [self.runner.submit(spec) for spec in specs]
        for number, run in enumerate(runs):
            run.result(PATIENCE)
            data = DATA + bytes([number // 3])
            held = ["s1"] if METHODS[number % 3] == "copy-image" else []
            self.assertHolds(run.image_id, data, *held, "s2", "m1")
        self.assertEqual([], self.staged_files())

    def test_delete_now(self: Any) -> None:
        """S2, P4: the data goes from every store, then the image is deleted, with all that belongs to it."""
        image_id = self.spec("copy-image").arguments["image_id"]
        self.runner.run(copy_image(image_id, to=["s2", "m1"]))
        self.runner.run(delete_image(image_id, delayed=False))
        self.assertEqual([], self.stores_with(image_id))
        image = self.db.images.get(image_id)
        self.assertEqual((states.DELETED, True), (image.status, image.deleted))
        places = self.rows("image_locations", image_id=image_id)
        self.assertEqual({(states.DELETED, True)}, {(row["status"], row["deleted"]) for row in places})

    def test_delayed_delete(self: Any) -> None:
        """S1, P4: the image answers as deleted at once, its data is untouched."""
        image_id = self.world.image(DATA, properties={"k": "v"}, tags=("t",))
        self.runner.run(delete_image(image_id, delayed=True))
        image = self.db.images.get(image_id)
        self.assertEqual((states.PENDING_DELETE, True, True), (image.status, image.deleted, image.gone))
        self.assertIsNotNone(image.deleted_at)
        for table in ("image_locations", "image_properties", "image_tags"):
            (row,) = self.rows(table, image_id=image_id)
            self.assertEqual((True, image.deleted_at), (row["deleted"], row["deleted_at"]), table)
            self.assertEqual(states.PENDING_DELETE, row.get("status", states.PENDING_DELETE))
        self.assertEqual(DATA, self.bytes_in(image_id, "s1"))
        self.assertRaises(errors.NotFound, self.runner.run, copy_image(image_id, to=["s2"]))

    def test_deleted_while_it_is_copied(self: Any) -> None:
        """C15: the flow notices, stops, and what it wrote goes, the object in hand too."""
        image_id = self.world.image(DATA)
        held = self.hold("m1")
        run = self.runner.submit(copy_image(image_id, to=["s2", "m1"]))
        self.reached(held)
        eventually(lambda: self.bytes_in(image_id, "s2") and "s2" in self.db.images.get(image_id).stores, "s2 done")
        self.runner.run(delete_image(image_id, delayed=True))
        self.assertRaises(errors.Gone, run.result, PATIENCE)
        self.assertEqual(["s1"], self.stores_with(image_id))
        (row,) = self.rows("image_locations", image_id=image_id)
        self.assertEqual(("s1", states.PENDING_DELETE), (row["meta_data"]["store"], row["status"]))
        self.assertEqual([], run.leftovers.items)
        self.assertEqual([], [row for row in self.rows("image_properties", image_id=image_id, name=states.LOCK)])

    def test_a_users_changes_stay(self: Any) -> None:
        """P5: what a user changes while a flow runs is there when it ends."""
        for outcome in ("success", "failure"):
            image_id = self.world.image(DATA, name="old", properties={"k": "v"}, tags=("t",))
            held = self.hold("m1")
            held.started.clear()
            run = self.runner.submit(copy_image(image_id, to=["s2", "m1"]))
            self.reached(held)
            self.change("images", {"id": image_id}, name="new", min_ram=7, visibility="public", protected=True)
            self.db.properties.merge(image_id, {"k": "w", "added": "1"})
            self.insert("image_tags", image_id=image_id, value="u")
            held.fail_add = errors.StoreError("no.") if outcome == "failure" else None
            held.hold.set()
            self.assertTrue(run.wait(PATIENCE))
            self.assertEqual(outcome, run.state)
            image = self.db.images.get(image_id)
            self.assertEqual(("new", "public", True), (image.name, image.visibility, image.protected))
            self.assertEqual(("w", "1"), (image.properties["k"], image.properties["added"]))
            self.assertEqual({"t", "u"}, set(image.tags))

    def test_a_glance_api_that_saves_an_older_image(self: Any) -> None:
        """C1, C25: Glance's save soft-deletes locations and progress keys it had not read; the end puts them right."""
        image_id = self.world.image(DATA)
        held = self.hold("m1")
        run = self.runner.submit(copy_image(image_id, to=["s2", "m1"]))
        self.reached(held)
        place = eventually(lambda: self._place(image_id, "s2"), "the location in s2")
        gone = {"deleted": True, "deleted_at": place["created_at"]}
        self.change("image_locations", {"id": place["id"]}, status="deleted", **gone)
        for name in (states.IMPORTING_TO, states.FAILED_IMPORT):
            self.change("image_properties", {"image_id": image_id, "name": name}, **gone)
        held.hold.set()
        run.result(PATIENCE)
        self.assertHolds(image_id, DATA, "s1", "s2", "m1")
        self.assertEqual(
            (False, None), (self._place(image_id, "s2")["deleted"], self._place(image_id, "s2")["deleted_at"])
        )

    def _place(self: Any, image_id: str, store: str) -> dict[str, Any] | None:
        rows: Iterator[dict[str, Any]] = iter(self.rows("image_locations", image_id=image_id))
        return next((row for row in rows if row["meta_data"]["store"] == store), None)

    def test_no_table_of_ours(self: Any) -> None:
        """D1, D3: flows add no table to Glance's database and alter none."""
        before = self._schema()
        self.runner.run(self.spec("web-download"))
        image_id = self.spec("copy-image").arguments["image_id"]
        self.runner.run(delete_image(image_id))
        self.assertEqual(before, self._schema())
        self.assertEqual([], [name for name in before if "flow" in name and name != "glance_flows_alembic_version"])

    def _schema(self: Any) -> dict[str, list[str]]:
        inspector = sa.inspect(self.db.engine.engine)
        return {
            name: [str(column["name"]) for column in inspector.get_columns(name)]
            for name in inspector.get_table_names()
        }
