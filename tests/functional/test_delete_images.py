"""Deleting images: with stores that refuse, images that are protected, and flows that are at work."""

from typing import Any

from glance_flows import errors, states
from glance_flows.flows import copy_image, delete_image
from tests.contract.flows import DATA, Flows
from tests.contract.worlds import PATIENCE, eventually


class TestRefused(Flows):
    def in_two_stores(self) -> str:
        image_id = self.world.image(DATA, properties={"k": "v"}, tags=("t",))
        self.world.store(image_id, DATA, "m1")
        return image_id

    def test_the_first_store_refuses(self) -> None:
        """S2: data in use: the image is as it was, nothing is gone."""
        for error in (errors.StoreInUse("in use."), errors.StoreError("no route."), errors.StoreTimeout("slow.")):
            image_id = self.world.image()
            self.world.store(image_id, DATA, "m1")
            before = self.world.picture()
            self.store("m1").fail_delete = error
            self.assertRaises(type(error), self.runner.run, delete_image(image_id, delayed=False))
            self.assertEqual(before, self.world.picture())

    def test_the_second_store_refuses(self) -> None:
        """S2: each location is either gone with its data or still referenced, and the image still there."""
        image_id = self.in_two_stores()
        self.store("m1").fail_delete = errors.StoreInUse("in use.")
        self.assertRaises(errors.StoreInUse, self.runner.run, delete_image(image_id, delayed=False))
        image = self.db.images.get(image_id)
        self.assertEqual((states.ACTIVE, False, ["m1"]), (image.status, image.deleted, image.stores))
        self.assertEqual(["m1"], self.stores_with(image_id))
        self.assertEqual(({"k": "v"}, ("t",)), (dict(image.properties), image.tags))
        self.store("m1").fail_delete = None
        self.runner.run(delete_image(image_id, delayed=False))
        self.assertEqual((states.DELETED, []), (self.db.images.get(image_id).status, self.stores_with(image_id)))

    def test_a_store_this_host_does_not_have(self) -> None:
        """S2, S10: a location elsewhere is never dropped silently."""
        image_id = self.world.image(DATA)
        self.change("image_locations", {"image_id": image_id}, meta_data={"store": "elsewhere"})
        before = self.world.picture()
        spec = delete_image(image_id, delayed=False)
        self.assertRaisesRegex(errors.StoreUnavailable, "elsewhere", self.runner.run, spec)
        self.assertEqual(before, self.world.picture())

    def test_data_that_is_gone_already(self) -> None:
        """S2, S8: missing data is no error."""
        image_id = self.in_two_stores()
        self.store("m1").objects.clear()
        self.runner.run(delete_image(image_id, delayed=False))
        self.assertEqual(states.DELETED, self.db.images.get(image_id).status)

    def test_protected(self) -> None:
        """S3: refused before anything is touched, whoever asks and however."""
        image_id = self.world.image(DATA, protected=True)
        before = self.world.picture()
        for delayed in (True, False, None):
            spec = delete_image(image_id, delayed=delayed)
            self.assertRaisesRegex(errors.Forbidden, "protected", self.runner.run, spec)
        self.assertEqual(before, self.world.picture())
        self.assertEqual([], self.events.seen)


class TestWhatever(Flows):
    def test_no_locations(self) -> None:
        """S3: an image without data goes straight to deleted, whatever the option, with what was staged for it."""
        for delayed in (True, False):
            queued, staged = self.world.image(), self.world.image()
            self.world.stage(staged, DATA)
            for image_id in (queued, staged):
                self.runner.run(delete_image(image_id, delayed=delayed))
                self.assertEqual(states.DELETED, self.db.images.get(image_id).status)
            self.assertEqual([], self.staged_files(), f"delayed={delayed}")

    def test_the_option_decides(self) -> None:
        """S1, S2, D2: delayed_delete is what a request that says nothing gets."""
        for delayed, status in ((True, states.PENDING_DELETE), (False, states.DELETED)):
            self.services.conf.set_override("delayed_delete", delayed)
            image_id = self.world.image(DATA)
            self.runner.run(delete_image(image_id))
            self.assertEqual(status, self.db.images.get(image_id).status)
            self.assertEqual(["s1"] if delayed else [], self.stores_with(image_id))

    def test_twice_at_once(self) -> None:
        """S2, R8: two deletions at the same moment delete once; one that comes second may be told so."""
        image_id = self.world.image(DATA)
        runs = []
        for _ in range(2):
            try:
                runs.append(self.runner.submit(delete_image(image_id, delayed=False)))
            except errors.NotFound:
                self.assertTrue(runs, "the first was refused")
        for run in runs:
            run.wait(PATIENCE)
        self.assertIn(None, [run.error for run in runs])
        for error in filter(None, (run.error for run in runs)):
            self.assertIsInstance(error, errors.Gone | errors.ImageBusy)
        self.assertEqual((states.DELETED, []), (self.db.images.get(image_id).status, self.stores_with(image_id)))


class TestAtWork(Flows):
    def deleted_in_the_middle(self, method: str, target: str, **arguments: Any) -> Any:
        """Delete an image while an import stands in ``target``; return the import's run."""
        held = self.hold(target)
        held.started.clear()
        spec = self.spec(method, stores=["s2", target])
        run = self.runner.submit(spec)
        self.reached(held)
        eventually(lambda: "s2" in self.db.images.get(run.image_id).stores, "s2 done")
        self.runner.run(delete_image(run.image_id, **arguments))
        eventually(lambda: run.token.reason, "the run is told")
        held.hold.set()
        self.assertRaises(errors.Gone, run.result, PATIENCE)
        return run

    def test_deleted_now(self) -> None:
        """C15, S2: nothing of the flow or of the image is left in any store or in staging."""
        for method in ("copy-image", "web-download", "glance-direct"):
            for target in ("m1", "s3"):
                run = self.deleted_in_the_middle(method, target, delayed=False)
                self.assertEqual([], self.stores_with(run.image_id), (method, target))
                self.assertEqual([], self.staged_files())
                self.assertEqual(states.DELETED, self.db.images.get(run.image_id).status)
                self.assertEqual([], run.leftovers.items)
                (task,) = self.db.tasks_of(run.image_id)
                self.assertEqual("failure", task["status"])

    def test_deleted_for_the_scrubber(self) -> None:
        """C15, S1: only what the image had before the flow is left to the scrubber."""
        for target in ("m1", "s3"):
            run = self.deleted_in_the_middle("copy-image", target, delayed=True)
            self.assertEqual(["s1"], self.stores_with(run.image_id))
            pending = self.rows("image_locations", image_id=run.image_id, status=states.PENDING_DELETE)
            self.assertEqual(["s1"], [row["meta_data"]["store"] for row in pending])

    def test_a_first_import_deleted_for_the_scrubber(self) -> None:
        """C15: an image that had nothing before has nothing after, and does not wait for the scrubber for ever."""
        run = self.deleted_in_the_middle("web-download", "m1", delayed=True)
        self.assertEqual([], self.stores_with(run.image_id))
        self.assertEqual([], self.rows("image_locations", image_id=run.image_id, status=states.PENDING_DELETE))
        self.assertEqual([], self.staged_files())

    def test_a_row_that_vanishes(self) -> None:
        """C15: a purge that takes the image's rows in the middle: what was written goes."""
        held = self.hold("m1")
        image_id = self.world.image(DATA)
        run = self.runner.submit(copy_image(image_id, to=["m1"]))
        self.reached(held)
        self.change("images", {"id": image_id}, deleted=True, status=states.DELETED)
        self.assertRaises(errors.Gone, run.result, PATIENCE)
        self.assertEqual(["s1"], self.stores_with(image_id))
