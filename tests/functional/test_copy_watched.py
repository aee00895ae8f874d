"""A copy that somebody watches from the middle of it: what the image, the task, the events and the run tell."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.flows import copy_image, delete_image, import_image
from tests.contract.flows import DATA, METHODS, Flows
from tests.contract.worlds import PATIENCE, eventually


class TestProgressKeys(Flows):
    def test_what_the_image_shows(self) -> None:
        """C16, C17: the stores still to come, in order; a finished one leaves the list and its location is there."""
        for method in METHODS:
            first, second = self.hold("m2"), self.hold("m1")
            spec = self.spec(method, stores=["m2", "s2", "m1"])
            image_id = spec.arguments["image_id"]
            self.insert("image_properties", image_id=image_id, name=states.FAILED_IMPORT, value="from,before")
            run = self.runner.submit(spec)
            self.reached(first)
            self.reached(second)
            eventually(lambda: self.prop(image_id, states.IMPORTING_TO) == "m2,m1", "s2 off the list")  # noqa: B023
            self.assertIn("s2", self.db.images.get(image_id).stores)
            self.assertEqual("", self.prop(image_id, states.FAILED_IMPORT))
            status = states.ACTIVE if method == "copy-image" else states.IMPORTING
            self.assertEqual(status, self.db.images.get(image_id).status)
            first.hold.set()
            eventually(lambda: self.prop(image_id, states.IMPORTING_TO) == "m1", "m2 off the list")  # noqa: B023
            self.assertIn("m2", self.db.images.get(image_id).stores)
            second.hold.set()
            run.result(PATIENCE)
            self.assertEqual("", self.prop(image_id, states.IMPORTING_TO))
            for store in (first, second):
                store.started.clear()

    def test_the_order_asked_for(self) -> None:
        """C16: before any store is done the list is the request's, and nothing has failed."""
        held = [self.hold(name) for name in ("m3", "m1", "m2")]
        image_id = self.world.image(DATA)
        run = self.runner.submit(copy_image(image_id, to=["m3", "m1", "m2"]))
        for store in held:
            self.reached(store)
        self.assertEqual("m3,m1,m2", self.prop(image_id, states.IMPORTING_TO))
        self.assertEqual("", self.prop(image_id, states.FAILED_IMPORT))
        self.release_all()
        run.result(PATIENCE)

    def test_an_image_is_visible_with_its_first_store(self) -> None:
        """C17, C13: where a store may fail an image is active as soon as one has it, with its digests."""
        for method in ("glance-direct", "web-download"):
            held = self.hold("m1")
            spec = self.spec(method, all_stores_must_succeed=False)
            image_id = spec.arguments["image_id"]
            run = self.runner.submit(spec)
            self.reached(held)
            eventually(lambda: self.db.images.get(image_id).status == states.ACTIVE, "active")  # noqa: B023
            image = self.db.images.get(image_id)
            self.assertEqual((["s2"], hashlib.sha512(DATA).hexdigest()), (image.stores, image.os_hash_value))
            held.fail_add = errors.StoreFull("m1 is full.")
            held.hold.set()
            run.result(PATIENCE)
            self.assertHolds(image_id, DATA, "s2")
            held.fail_add = None
            held.started.clear()


class TestEvents(Flows):
    def test_the_events_of_an_import(self) -> None:
        """C18: a start, one upload for every store that took the image, an end; each with what it is about."""
        for method in METHODS:
            self.events.seen.clear()
            self.store("m1").fail_add = errors.StoreFull("m1 is full.")
            spec = self.spec(method, stores=["s2", "m1", "m2"], all_stores_must_succeed=False)
            run = self.runner.submit(spec)
            run.result(PATIENCE)
            names = [event for event, _ in self.events.seen]
            self.assertEqual(["image.import.start", *["image.upload"] * 2, "image.import.end"], names)
            uploads = self.events.of("image.upload")
            self.assertEqual({"s2", "m2"}, {payload["store"] for payload in uploads})
            digests = {
                "size": len(DATA),
                "checksum": hashlib.md5(DATA, usedforsecurity=False).hexdigest(),
                "os_hash_algo": "sha512",
                "os_hash_value": hashlib.sha512(DATA).hexdigest(),
            }
            for payload in uploads:
                self.assertEqual({"id": run.image_id, "run": run.id, "store": payload["store"], **digests}, payload)
            (end,) = self.events.of("image.import.end")
            about = (run.image_id, run.id, method, ["s2", "m1", "m2"], "success", None)
            self.assertEqual(about, tuple(end[key] for key in ("id", "run", "method", "stores", "state", "error")))

    def test_the_events_of_failures_and_deletions(self) -> None:
        """C18: the end tells the failure; a refused request has no events."""
        spec = self.spec("copy-image")
        image_id = spec.arguments["image_id"]
        self.store("m1").fail_add = errors.StoreFull("m1 is full.")
        self.assertRaises(errors.StoreFull, self.runner.run, spec)
        (end,) = self.events.of("image.import.end")
        self.assertEqual(("failure", "m1 is full."), (end["state"], end["error"]))
        self.events.seen.clear()
        self.assertRaises(errors.BadRequest, self.runner.run, copy_image(image_id, to=["s1"]))
        self.assertEqual([], self.events.seen)
        self.runner.run(delete_image(image_id))
        self.assertEqual(["image.delete.start", "image.delete.end"], [event for event, _ in self.events.seen])

    def test_a_subscriber_that_fails(self) -> None:
        """C18: what a subscriber does wrong never fails a flow."""

        def broken(event: str, payload: Any) -> None:
            raise RuntimeError("the bus is away")

        self.services.notifier._subscribers.append(broken)
        spec = self.spec("copy-image")
        self.runner.run(spec)
        self.assertHolds(spec.arguments["image_id"], DATA, "s1", "s2", "m1")


class TestParallel(Flows):
    def test_stores_are_uploaded_to_side_by_side(self) -> None:
        """C22: for every method all the stores are in the middle of an upload at the same time."""
        for method in METHODS:
            held = [self.hold(name) for name in ("m1", "m2", "m3", "s2")]
            run = self.runner.submit(self.spec(method, stores=["m1", "m2", "m3", "s2"]))
            for store in held:
                self.reached(store)
            self.release_all()
            run.result(PATIENCE)
            for store in held:
                store.started.clear()

    def test_not_more_than_asked_for(self) -> None:
        """C22: with max_parallel_stores = 2 the third begins when one of the first two is done."""
        self.services.conf.set_override("max_parallel_stores", 2, group="image_import_opts")
        first, second, third = (self.hold(name) for name in ("m1", "m2", "m3"))
        run = self.runner.submit(self.spec("web-download", stores=["m1", "m2", "m3"]))
        self.reached(first)
        self.reached(second)
        self.assertFalse(third.started.is_set())
        first.hold.set()
        self.reached(third)
        self.release_all()
        run.result(PATIENCE)


class TestTold(Flows):
    def test_the_run_tells(self) -> None:
        """C26: bytes, totals and states of every part, to the end; rates once time has passed."""
        held = self.hold("m1")
        spec = self.spec("web-download")
        run = self.runner.submit(spec)
        self.reached(held)
        snapshots = run.progress()
        parts = {part.part: part for part in next(snapshots)}
        self.assertEqual(("running", len(DATA), 0), (parts["m1"].state, parts["m1"].total, parts["m1"].done))
        held.hold.set()
        *_, last = snapshots
        for part in last:
            self.assertEqual(("done", len(DATA), len(DATA), 100), (part.state, part.done, part.total, part.percent))
            self.assertGreater(part.rate, 0)
        self.assertEqual({"staging", "s2", "m1"}, {part.part for part in last})

    def test_another_process_can_read_it(self) -> None:
        """C26: the task's message in the database says how far each store is."""
        held = self.hold("m1")
        run = self.runner.submit(self.spec("copy-image"))
        self.reached(held)
        eventually(lambda: self._message(run) == "m1: 0% (0 MiB of 0 MiB)", "a message of the store that is not done")
        held.hold.set()
        run.result(PATIENCE)
        self.assertEqual("", self._message(run))

    def _message(self, run: Any) -> str:
        (task,) = self.db.tasks_of(run.image_id)
        return str(task["message"])

    def test_the_tasks_input(self) -> None:
        """C25, F2: the task holds the request as Glance writes it, and the run's mark."""
        spec = self.spec("web-download")
        run = self.runner.submit(spec)
        run.result(PATIENCE)
        (task,) = self.db.tasks_of(run.image_id)
        method = {"name": "web-download", "uri": spec.arguments["uri"]}
        body = {"method": method, "stores": ["s2", "m1"], "all_stores_must_succeed": True}
        self.assertEqual((run.image_id, body), (task["input"]["image_id"], task["input"]["import_req"]))
        self.assertEqual({"image_id": run.image_id, "stores": ["s2", "m1"]}, task["result"])


class TestLease(Flows):
    def configure(self) -> dict[str, Any]:
        options = super().configure()
        return {**options, "glance_flows": {**options["glance_flows"], "lease_seconds": 3}}

    def test_a_live_run_renews_it(self) -> None:
        """C25: whatever a run is doing, its task is renewed, and nobody takes its image."""
        held = self.hold("m1")
        spec = self.spec("copy-image")
        run = self.runner.submit(spec)
        self.reached(held)
        for _ in range(2):
            self.age_lock(run.image_id, 2.9)
            eventually(lambda: self._age(run.image_id) < timedelta(seconds=1), "a renewal")
        self.assertRaises(errors.ImageBusy, self.runner.run, copy_image(run.image_id, to=["s3"]))
        held.hold.set()
        run.result(PATIENCE)

    def _age(self, image_id: str) -> timedelta:
        (task,) = self.db.tasks_of(image_id)
        return timeutils.utcnow() - task["updated_at"]

    def test_a_run_that_was_overtaken_stops(self) -> None:
        """C25: another run took the lock: this one stops, leaves the image to it, and says what it leaves behind."""
        held = self.hold("m1")
        image_id = self.world.image(DATA)
        run = self.runner.submit(copy_image(image_id, to=["s2", "m1"]))
        self.reached(held)
        eventually(lambda: "s2" in self.db.images.get(image_id).stores, "s2 is done")
        eventually(lambda: self.runner._pulse._watched[run.id].locked, "the pulse has seen the lock")
        self.change("image_properties", {"image_id": image_id, "name": states.LOCK}, value="another")
        self.assertRaisesRegex(errors.LockLost, "another", run.result, PATIENCE)
        self.assertEqual(["s1", "s2"], self.stores_with(image_id))
        self.assertEqual(["s1", "s2"], self.db.images.get(image_id).stores)
        self.assertEqual("another", self.prop(image_id, states.LOCK))
        self.assertIn("while another holds the image", "".join(run.leftovers.items))


class TestCancelled(Flows):
    def test_cancelling(self) -> None:
        """C27, C12: a run that is cancelled stops at once and undoes everything, whatever it was doing."""
        for method in METHODS:
            held = self.hold("m1")
            spec = self.spec(method)
            before = self.world.picture()
            run = self.runner.submit(spec)
            self.reached(held)
            run.cancel("the operator says so.")
            self.assertRaisesRegex(errors.Cancelled, "the operator says so", run.result, PATIENCE)
            self.assertEqual(before, self.world.picture())
            self.assertEqual("", self.prop(run.image_id, states.FAILED_IMPORT))
            (task,) = self.db.tasks_of(run.image_id)
            self.assertEqual(("failure", "the operator says so."), (task["status"], task["message"]))
            held.started.clear()


class TestSerial(Flows):
    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "taskflow_executor": {"engine_mode": "serial"}}

    def test_the_serial_engine(self) -> None:
        """F1, D2: engine_mode = serial runs the same flows to the same ends."""
        for method in METHODS:
            spec = self.spec(method)
            self.runner.run(spec)
            held = ["s1"] if method == "copy-image" else []
            self.assertHolds(spec.arguments["image_id"], DATA, *held, "s2", "m1")
            self.assertRevertsCleanly(self.spec(method))


class TestSource(Flows):
    """C11: where a copy is read from."""

    def with_copies(self) -> str:
        """Return an image in s1 (the default), m1 (weight 1), m2 (weight 9) and m3 (weight 5)."""
        image_id = self.world.image(DATA)
        for name, weight in (("m1", 1), ("m2", 9), ("m3", 5)):
            self.store(name).weight = weight
            self.world.store(image_id, DATA, name)
        return image_id

    def source(self, image_id: str) -> str:
        """Copy the image to s2, take it back, and return where it was read."""
        result = self.runner.run(copy_image(image_id, to=["s2"]))
        self.assertEqual(DATA, self.bytes_in(image_id, "s2"))
        Path(self.store("s2").url_of(image_id).removeprefix("file://")).unlink()
        self.change("image_locations", {"id": result["tally"]["locations"][0]}, deleted=True, status="deleted")
        return str(result["staged"]["source"])

    def test_the_order(self) -> None:
        """C11: the default store first, then by weight; what is missing, damaged or unreadable is passed over."""
        image_id = self.with_copies()
        self.assertEqual("s1", self.source(image_id))
        path = Path(self.store("s1").url_of(image_id).removeprefix("file://"))
        path.write_bytes(DATA[:-1] + b"?")
        self.assertEqual("m2", self.source(image_id))
        path.write_bytes(DATA[:-1])
        self.assertEqual("m2", self.source(image_id))
        path.unlink()
        self.assertEqual("m2", self.source(image_id))
        path.mkdir()
        self.assertEqual("m2", self.source(image_id))
        self.store("m2").objects[image_id] = DATA + b"?"
        self.assertEqual("m3", self.source(image_id))
        del self.store("m3").objects[image_id]
        self.assertEqual("m1", self.source(image_id))
        path.rmdir()

    def test_no_good_copy(self) -> None:
        """C11, C12: with none left the copy fails, tells what was wrong with each, and leaves nothing."""
        image_id = self.with_copies()
        Path(self.store("s1").url_of(image_id).removeprefix("file://")).write_bytes(b"x" * len(DATA))
        for name in ("m1", "m2", "m3"):
            self.store(name).objects.clear()
        before = self.world.picture()
        spec = copy_image(image_id, to=["s2"])
        self.assertRaisesRegex(errors.SourceFailed, "s1: its checksum is .* m2: .*m3: .*m1: ", self.runner.run, spec)
        self.assertUntouched(image_id, before)

    def test_a_store_this_host_does_not_have(self) -> None:
        """C11, S10: a location in another host's store is passed over."""
        image_id = self.world.image(DATA)
        place = {"image_id": image_id, "value": "rbd://elsewhere", "status": "active"}
        self.insert("image_locations", meta_data={"store": "elsewhere"}, **place)
        self.assertEqual("s1", self.source(image_id))
        self.change("image_locations", {"image_id": image_id}, meta_data={"store": "elsewhere"})
        spec = copy_image(image_id, to=["s2"])
        self.assertRaisesRegex(errors.SourceFailed, "none of the stores", self.runner.run, spec)

    def test_an_old_image_without_a_hash(self) -> None:
        """C11, C21: what is not recorded cannot differ; nor is it written into an active image."""
        image_id = self.world.image(DATA)
        self.change("images", {"id": image_id}, os_hash_algo=None, os_hash_value=None)
        self.runner.run(copy_image(image_id, to=["s2"]))
        self.assertEqual(DATA, self.bytes_in(image_id, "s2"))
        self.assertIsNone(self.db.images.get(image_id).os_hash_value)


class TestFacts(Flows):
    def test_facts_are_json_and_hold_no_service(self) -> None:
        """F2: all that a flow knows at its end is JSON, and nothing of it is a service or a location's URL."""
        for method in METHODS:
            spec = self.spec(method)
            facts = self.runner.run(spec)
            self.assertEqual(facts, json.loads(json.dumps(facts)))
            self.assertEqual(set(), set(facts) & {*self.services.injected(), "cancel", "progress", "leftovers"})
            self.assertNotIn("memory-m1://", json.dumps(facts))

    def test_a_uri_with_a_signature(self) -> None:
        """F2: what follows the question mark of a URI is not told in an error."""
        self.site.pages.clear()
        uri = self.site.url("/a?signature=hidden")
        spec = import_image(self.world.image(), method="web-download", uri=uri, stores=["s2"])
        failure = self.assertRaises(errors.SourceFailed, self.runner.run, spec)
        self.assertNotIn("hidden", str(failure))
