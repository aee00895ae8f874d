"""What is refused at the door, and that a refused request leaves nothing behind."""

import dataclasses
from collections.abc import Callable
from typing import Any

from glance_flows import Identity, errors, states
from glance_flows.flow import Flow, FlowSpec
from glance_flows.flows import copy_image, delete_image, import_image
from glance_flows.policy import Policy
from glance_flows.testing.case import FusibleRunner
from tests.contract.flows import DATA, METHODS, Flows

OWNER = Identity(project="owner", user="user", roles=("member", "reader"))
STRANGER = Identity(project="stranger", user="other", roles=("member", "reader"))
ADMIN = Identity(project="operators", user="root", roles=("admin",))


class Requests(Flows):
    """Refusals."""

    def assertRefused(self, error: type[Exception], spec: FlowSpec, *words: str, by: Identity | None = None) -> None:
        """The request is refused with words that name what is wrong, and leaves nothing (C9)."""
        before, tasks = self.world.picture(), self.rows("tasks")
        keys = self.rows("image_properties")
        failure = self.assertRaises(error, self.runner.submit, spec, identity=by)
        self.assertIs(error, type(failure))
        for word in words:
            self.assertIn(word, str(failure))
        self.assertEqual(before, self.world.picture())
        self.assertEqual((tasks, keys), (self.rows("tasks"), self.rows("image_properties")))
        self.assertEqual([], self.events.seen)

    def in_status(self, status: str) -> str:
        """Return an image of a status, as another program would have left it."""
        image_id = self.world.image(DATA)
        self.change("images", {"id": image_id}, status=status)
        return image_id


class TestStatus(Requests):
    def test_status(self) -> None:
        """C2: copy-image needs an active image, web-download a queued one, glance-direct one that is uploading."""
        needed = dict(zip(METHODS, (states.UPLOADING, states.QUEUED, states.ACTIVE), strict=True))
        others = (states.QUEUED, states.SAVING, states.UPLOADING, states.IMPORTING, states.ACTIVE, states.DEACTIVATED)
        for method, wanted in needed.items():
            for status in others:
                if status != wanted:
                    spec = self.spec(method, self.in_status(status))
                    self.assertRefused(errors.Conflict, spec, f"is {status}", f"needs it to be {wanted}")

    def test_formats(self) -> None:
        """C2: an import needs both formats to be set."""
        for method in METHODS:
            for name in ("disk_format", "container_format"):
                image_id = self.ready(method)
                self.change("images", {"id": image_id}, **{name: None})
                self.assertRefused(errors.Conflict, self.spec(method, image_id), name)


class TestVisibility(Requests):
    def test_images_that_are_not_there(self) -> None:
        """C3: unknown, deleted and pending_delete images are not found, with nothing to tell them apart."""
        unknown = "11111111-2222-4333-8444-555555555555"
        gone = [self.world.image(DATA), self.world.image(DATA), self.world.image()]
        for image_id, delayed in zip(gone, (True, False, False), strict=True):
            self.runner.run(delete_image(image_id, delayed=delayed))
        self.events.seen.clear()
        for image_id in (unknown, *gone):
            for spec in (self.spec("copy-image", image_id), delete_image(image_id)):
                self.assertRefused(errors.NotFound, spec, f"there is no image {image_id}.")

    def test_images_of_others(self) -> None:
        """C3: another project's private image is not found; one that is shared with the caller or public is seen."""
        image_id = self.world.image(DATA)
        for visibility, seen in (("private", False), ("shared", False), ("public", True), ("community", True)):
            self.change("images", {"id": image_id}, visibility=visibility)
            for spec in (copy_image(image_id, to=["s2"]), delete_image(image_id)):
                self.assertRefused(errors.Forbidden if seen else errors.NotFound, spec, image_id, by=STRANGER)
        self.change("images", {"id": image_id}, visibility="shared")
        self.insert("image_members", image_id=image_id, member="stranger", can_share=False, status="accepted")
        self.assertRefused(errors.Forbidden, delete_image(image_id), by=STRANGER)


class TestPolicy(Requests):
    def demand_identity(self) -> None:
        conf = self.services.conf
        conf.set_override("require_identity", True, group="glance_flows")
        self.services = dataclasses.replace(self.services)
        vars(self.services)["policy"] = Policy(conf)
        self.runner.services = self.services

    def test_no_identity(self) -> None:
        """C4: where an identity is needed, a request without one is unauthorized, for every flow."""
        self.demand_identity()
        for spec in (*(self.spec(method) for method in METHODS), delete_image(self.world.image(DATA))):
            self.assertRefused(errors.Unauthorized, spec, "identity")
            self.runner.run(spec, identity=ADMIN)
            self.events.seen.clear()

    def test_forbidden(self) -> None:
        """C4: by default only an administrator copies; a member imports into and deletes images of its project."""
        self.assertRefused(errors.Forbidden, self.spec("copy-image"), "copy_image", by=OWNER)
        readers = dataclasses.replace(OWNER, roles=("reader",))
        for method in ("glance-direct", "web-download"):
            self.assertRefused(errors.Forbidden, self.spec(method), "modify_image", by=readers)
            self.runner.run(self.spec(method), identity=OWNER)
            self.events.seen.clear()
        image_id = self.world.image(DATA)
        self.assertRefused(errors.Forbidden, delete_image(image_id), "delete_image", by=readers)
        self.runner.run(delete_image(image_id), identity=OWNER)

    def test_the_operators_own_rules(self) -> None:
        """C4: a policy file like Glance's decides."""
        (self.root / "policy.yaml").write_text('copy_image: "role:member"\ndelete_image: "!"\n')
        conf = self.services.conf
        conf.set_override("policy_file", str(self.root / "policy.yaml"), group="oslo_policy")
        self.runner.services = self.services = dataclasses.replace(self.services)
        vars(self.services)["policy"] = Policy(conf)
        image_id = self.world.image(DATA)
        self.assertRefused(errors.Forbidden, delete_image(image_id), by=ADMIN)
        self.runner.run(copy_image(image_id, to=["s2"]), identity=OWNER)

    def test_who_asked_is_told(self) -> None:
        """C4, F2: the task is its project's and names user and request."""
        spec = self.spec("web-download")
        asks = dataclasses.replace(OWNER, request_id="req-1")
        self.runner.run(spec, identity=asks)
        (task,) = self.db.tasks_of(spec.arguments["image_id"])
        self.assertEqual(("owner", "user", "req-1"), (task["owner"], task["user_id"], task["request_id"]))


class TestStores(Requests):
    def test_unknown_store(self) -> None:
        """C6: a store that is not there is a conflict that names it and those that are."""
        for method in METHODS:
            spec = self.spec(method, stores=["s2", "nowhere"])
            self.assertRefused(errors.StoreUnavailable, spec, "'nowhere'", "s1, s2, s3, m1, m2, m3")

    def test_a_store_out_of_order(self) -> None:
        """C6: a store that cannot be used when the process starts is a conflict that says why; the others work."""
        case = self.configure
        broken = {"s3": {"filesystem_store_datadir": "/proc/nowhere"}}
        self.configure = lambda: {**case(), **broken}  # type: ignore[method-assign]
        self.runner.services = self.services = self.make_services()
        for method in METHODS:
            self.assertRefused(errors.StoreUnavailable, self.spec(method, stores=["s3", "m1"]), "s3", "/proc/nowhere")
        spec = self.spec("copy-image")
        self.runner.run(spec)
        self.assertEqual({"s1", "s2", "m1"}, set(self.db.images.get(spec.arguments["image_id"]).stores))

    def test_a_store_that_has_it(self) -> None:
        """C7: naming a store that has the image is a bad request."""
        self.assertRefused(errors.BadRequest, self.spec("copy-image", stores=["s2", "s1"]), "stores", "s1 already has")

    def test_malformed_stores(self) -> None:
        """C8: stores must be a list of distinct names, at least one, and no reserved or read-only store."""
        self.store("m3").read_only = True
        wrong: list[tuple[Any, str]] = [
            ([], "at least one"),
            ("s2", "list"),
            ({"s2": 1}, "list"),
            ([1], "names"),
            ([""], "names"),
            (["s2", "s2"], "twice"),
            (["os_glance_staging_store"], "reserved"),
            (["m3"], "m3 is read-only"),
        ]
        for method in METHODS:
            for stores, word in wrong:
                self.assertRefused(errors.BadRequest, self.spec(method, stores=stores), "stores: ", word)
            both = self.spec(method, stores=["s2"], all_stores=True)
            self.assertRefused(errors.BadRequest, both, "stores", "all_stores")

    def test_a_store_type_without_writing(self) -> None:
        """C8: a store is read-only by its type; glance_store's http is."""
        conf = {"enabled_backends": "s1:file,s2:file,s3:file,web:http", "web": {}}
        case = self.configure
        self.configure = lambda: {**case(), **conf}  # type: ignore[method-assign]
        self.services = self.make_services()
        self.runner.services = self.services
        self.assertTrue(self.store("web").read_only)
        self.assertRefused(errors.BadRequest, self.spec("copy-image", stores=["web"]), "web is read-only")

    def test_no_stores(self) -> None:
        """C8: a copy names its stores or says all; an import without them goes to the default store."""
        self.assertRefused(errors.BadRequest, copy_image(self.world.image(DATA)), "stores", "all_stores")
        spec = self.spec("web-download", stores=None)
        self.runner.run(spec)
        self.assertHolds(spec.arguments["image_id"], DATA, "s1")


class TestShape(Requests):
    def test_method(self) -> None:
        """C8: no or an unknown method is refused with the names of those there are."""
        image_id = self.world.image()
        for method in (None, "", 7, "no-such", "Web-Download"):
            spec = import_image(image_id, method=method)  # type: ignore[arg-type]
            self.assertRefused(errors.BadRequest, spec, "method: ", "glance-direct, web-download, copy-image")

    def test_flags(self) -> None:
        """C8: flags are true or false."""
        for name in ("all_stores", "all_stores_must_succeed", "allow_failure"):
            for value in ("true", 1, [], 0.0):
                spec = self.spec("copy-image", **{name: value})
                self.assertRefused(errors.BadRequest, spec, f"{name}: ", "true or false")

    def test_contradiction(self) -> None:
        """C8: allow_failure is the inverse of all_stores_must_succeed; both are taken if they agree."""
        for flag in (True, False):
            spec = self.spec("copy-image", all_stores_must_succeed=flag, allow_failure=flag)
            self.assertRefused(errors.BadRequest, spec, "allow_failure: ", "all_stores_must_succeed")
        cases: list[tuple[dict[str, bool], bool]] = [
            ({"allow_failure": True}, False),
            ({"allow_failure": False}, True),
            ({"all_stores_must_succeed": False}, False),
            ({}, True),
            ({"allow_failure": True, "all_stores_must_succeed": False}, False),
        ]
        for flags, must in cases:
            spec = self.spec("copy-image", **flags)
            admitted = spec.factory.admit(spec, self.services, None)
            self.assertIs(must, admitted.arguments["resolved"]["all_stores_must_succeed"])

    def test_uri(self) -> None:
        """C8: web-download needs a good URI, the others take none."""
        image_id = self.world.image()
        port = self.site.port
        for uri in (
            *(None, "", 7, "x", "ftp://127.0.0.1/a", "file:///etc/passwd", "http://", f"http://u:p@127.0.0.1:{port}/"),
            *("http://127.0.0.1:1/", f"http://example.org:{port}/", "http://127.0.0.1:port/", "http://[::1/"),
        ):
            spec = import_image(image_id, method="web-download", uri=uri)  # type: ignore[arg-type]
            self.assertRefused(errors.BadRequest, spec, "uri: ")
        for method in ("glance-direct", "copy-image"):
            ready = self.ready(method)
            spec = import_image(ready, method=method, stores=["s2"], uri=self.site.url("/a"))
            self.assertRefused(errors.BadRequest, spec, "uri: ")

    def test_image_id_and_parameters(self) -> None:
        """C8: an id is a string, parameters are an object."""
        for image_id in (None, 7, "", []):
            self.assertRefused(errors.BadRequest, copy_image(image_id, to=["s2"]), "image_id: ")  # type: ignore[arg-type]
        spec = import_image(self.world.image(), method="web-download", uri=self.site.url("/a"), parameters=[1])  # type: ignore[arg-type]
        self.assertRefused(errors.BadRequest, spec, "parameters: ")


class TestAllStores(Requests):
    def test_copy_to_all(self) -> None:
        """C8: all_stores copies to every store that lacks the image and takes images; again, it finds nothing to do."""
        self.store("m3").read_only = True
        image_id = self.world.image(DATA)
        self.runner.run(copy_image(image_id, to=["s3"]))
        self.runner.run(copy_image(image_id, all_stores=True))
        self.assertHolds(image_id, DATA, "s1", "s2", "s3", "m1", "m2")
        before = self.world.picture()
        self.runner.run(copy_image(image_id, all_stores=True))
        self.assertEqual(before, self.world.picture())

    def test_the_stricter_rule(self) -> None:
        """C8: with copy_image_all_stores = reject it is refused where a store has the image."""
        self.services.conf.set_override("copy_image_all_stores", "reject", group="glance_flows")
        spec = copy_image(self.world.image(DATA), all_stores=True)
        self.assertRefused(errors.BadRequest, spec, "all_stores: ")

    def test_import_to_all(self) -> None:
        """C8: an import with all_stores goes to every store."""
        spec = self.spec("web-download", stores=None, all_stores=True)
        self.runner.run(spec)
        self.assertHolds(spec.arguments["image_id"], DATA, *self.services.stores.names)


class TestBusy(Requests):
    def test_another_flow_holds_it(self) -> None:
        """C9: an image that a live run holds, ours or a glance-api's, is busy; a refused request leaves nothing."""
        for method in METHODS:
            for ours in (True, False):
                spec = self.spec(method)
                holder = self.lock_as_another(spec.arguments["image_id"], ours=ours)
                self.assertRefused(errors.ImageBusy, spec, spec.arguments["image_id"], holder)


class _Interrupted(FusibleRunner):
    """Does something between the request and its start."""

    meanwhile: Callable[[], Any]

    def build(self, spec: FlowSpec) -> Flow:
        self.meanwhile()
        return super().build(spec)


class TestBetween(Requests):
    """What happens between the request and its start."""

    def run_after(self, meanwhile: Callable[[], Any], spec: FlowSpec) -> errors.GlanceFlowsError:
        """Return why a run failed before whose first task something happened; the run left nothing."""
        pictures: list[Any] = []
        runner = _Interrupted(self.services)
        self.addCleanup(runner.close)
        runner.meanwhile = lambda: (meanwhile(), pictures.append((self.world.picture(), self.rows("tasks"))))
        run = runner.submit(spec)
        run.wait(30)
        self.assertEqual(pictures, [(self.world.picture(), self.rows("tasks"))])
        self.assertIsInstance(run.error, errors.GlanceFlowsError)
        return run.error  # type: ignore[return-value]

    def test_the_image_goes_away(self) -> None:
        """C5: gone, with nothing left, whether it waits for the scrubber or every row of it was purged."""
        for method in METHODS:
            spec = self.spec(method)
            image_id = spec.arguments["image_id"]
            failure = self.run_after(lambda i=image_id: self.db.deletions.begin(i), spec)
            self.assertIs(errors.Gone, type(failure), method)

    def test_the_image_is_taken(self) -> None:
        """C9: busy, with nothing left; the other run keeps its lock."""
        spec = self.spec("copy-image")
        image_id = spec.arguments["image_id"]
        failure = self.run_after(lambda: self.lock_as_another(image_id), spec)
        self.assertIs(errors.ImageBusy, type(failure))
        self.assertTrue(self.prop(image_id, states.LOCK).startswith("other-"))

    def test_the_image_changes_its_status(self) -> None:
        """C2: a conflict, with nothing left."""
        spec = self.spec("copy-image")
        image_id = spec.arguments["image_id"]
        failure = self.run_after(lambda: self.change("images", {"id": image_id}, status=states.DEACTIVATED), spec)
        self.assertIs(errors.Conflict, type(failure))

    def test_the_store_gets_it_from_elsewhere(self) -> None:
        """C7: a copy that another one was faster with leaves the other's data and location as they are."""
        spec = self.spec("copy-image", stores=["s2"])
        image_id = spec.arguments["image_id"]
        with_s2 = copy_image(image_id, to=["s2"])
        runner = _Interrupted(self.services)
        self.addCleanup(runner.close)
        runner.meanwhile = lambda: self.runner.run(with_s2)
        self.assertRaisesRegex(errors.StoreDuplicate, "already has", runner.run, spec)
        self.assertHolds(image_id, DATA, "s1", "s2")


class TestReserved(Requests):
    def test_reserved_properties(self) -> None:
        """C28: nobody writes os_glance properties, when an image is made or later, and nothing goes with it."""
        image_id = self.world.image(properties={"k": "v"})
        before = self.world.picture()
        for name in (states.LOCK, states.IMPORTING_TO, states.FAILED_IMPORT, "os_glance_anything"):
            merge = self.db.properties.merge
            self.assertRaisesRegex(errors.BadRequest, name, merge, image_id, {"x": "y", name: "z"})
            self.assertRaisesRegex(errors.BadRequest, name, self.world.image, properties={name: "z"})
        self.assertEqual(before, self.world.picture())

    def test_purging_leaves_them(self) -> None:
        """C28, P3: a purge of properties does not take a running flow's lock and lists."""
        image_id = self.world.image(DATA)
        held = self.hold("m1")
        run = self.runner.submit(copy_image(image_id, to=["m1"]))
        self.reached(held)
        self.db.properties.merge(image_id, {}, purge_properties=True)
        self.assertEqual((run.id, "m1"), (self.prop(image_id, states.LOCK), self.prop(image_id, states.IMPORTING_TO)))
        held.hold.set()
        run.result(30)
