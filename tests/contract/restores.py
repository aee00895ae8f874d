"""What restoring promises, whatever database it runs on: concrete classes give it one."""

import threading
from datetime import timedelta
from typing import Any

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.flows import delete_image, restore_image
from glance_flows.identity import Identity
from glance_flows.scrubber import Scrubber
from tests.contract.scrubs import DATA, encrypted
from tests.contract.worlds import PATIENCE

_KEPT = ("owner", "visibility", "protected", "size", "checksum", "os_hash_algo", "os_hash_value", "name", "min_ram")


class Restores:
    """Bringing back what was deleted; mixed with :class:`tests.contract.scrubs.Pendings`."""

    def restore(self: Any, image_id: str, **options: Any) -> dict[str, Any]:
        """Restore an image and return the report."""
        report: dict[str, Any] = self.runner.run(restore_image(image_id, **options))["restored"]
        return report

    def whole(self: Any, **values: Any) -> str:
        """Make an image with everything an image has, in two stores."""
        image_id: str = self.world.image(DATA, "s1", properties={"k": "v", "l": "w"}, tags=("t", "u"), **values)
        self.world.store(image_id, DATA, "m1")
        for project in ("p", "q"):
            self.insert("image_members", image_id=image_id, member=project, status="accepted")
        return image_id

    def delete(self: Any, image_id: str) -> None:
        self.runner.run(delete_image(image_id, delayed=True))

    def as_glance_deletes(self: Any, image_id: str) -> None:
        """Delete an image as a glance-api does: locations, then properties, then the rest, each with its own stamp."""
        at = timeutils.utcnow().replace(microsecond=0) - timedelta(seconds=100)
        stamps = {"image_locations": at, "image_properties": at + timedelta(seconds=3)}
        for table in ("image_locations", "image_properties", "image_tags", "image_members"):
            pending = {"status": states.PENDING_DELETE} if table == "image_locations" else {}
            when = stamps.get(table, at + timedelta(seconds=5))
            self.change(table, {"image_id": image_id, "deleted": False}, deleted=True, deleted_at=when, **pending)
        pending = {"status": states.PENDING_DELETE, "deleted": True, "deleted_at": at + timedelta(seconds=5)}
        self.change("images", {"id": image_id}, **pending)

    def assertWhole(self: Any, image_id: str) -> None:
        """Everything of :meth:`whole` is there, and active (R1, R5, P4)."""
        (row,) = self.rows("images", id=image_id)
        self.assertEqual((states.ACTIVE, False, None), (row["status"], row["deleted"], row["deleted_at"]))
        image = self.db.images.get(image_id)
        self.assertEqual(["s1", "m1"], image.stores)
        self.assertEqual({"k": "v", "l": "w"}, dict(image.properties))
        self.assertEqual({"t", "u"}, set(image.tags))
        self.assertEqual({("p", "accepted"), ("q", "accepted")}, {(m.project, m.status) for m in image.members})
        for table in ("image_locations", "image_properties", "image_tags", "image_members"):
            self.assertEqual({(False, None)}, {(r["deleted"], r["deleted_at"]) for r in self.rows(table)}, table)
        for store in ("s1", "m1"):
            self.assertEqual(DATA, self.bytes_in(image_id, store))

    def test_restore(self: Any) -> None:
        """R1, R5, R7, P4: the image is what it was, and later scrubs leave it alone."""
        image_id = self.whole(name="a name", visibility="public", min_ram=7)
        (before,) = self.rows("images", id=image_id)
        self.delete(image_id)
        self.assertEqual({"properties": 2, "tags": 2, "members": 2, "locations": 2, "told": []}, self.restore(image_id))
        self.assertWhole(image_id)
        (after,) = self.rows("images", id=image_id)
        self.assertEqual({name: before[name] for name in _KEPT}, {name: after[name] for name in _KEPT})
        self.assertEqual((0, 0, 0), tuple(vars(self.scrub())[name] for name in ("images", "locations", "failed")))
        self.assertWhole(image_id)
        self.assertEqual([], self.locks())

    def test_what_a_glance_api_deleted(self: Any) -> None:
        """R1, R5: likewise where a glance-api deleted it, row after row."""
        image_id = self.whole()
        self.as_glance_deletes(image_id)
        self.restore(image_id)
        self.assertWhole(image_id)

    def test_what_was_removed_earlier(self: Any) -> None:
        """R5: what had gone before the deletion stays gone, even a second before."""
        image_id = self.whole()
        moment = timeutils.utcnow().replace(microsecond=0) - timedelta(seconds=101)
        gone = {"deleted": True, "deleted_at": moment}
        self.insert("image_properties", image_id=image_id, name="earlier", value="v", **gone)
        self.insert("image_tags", image_id=image_id, value="earlier", **gone)
        self.insert("image_members", image_id=image_id, member="p", status="rejected", **gone)
        self.delete(image_id)
        for name in ("images", "image_locations", "image_properties", "image_tags", "image_members"):
            key = {"id": image_id} if name == "images" else {"image_id": image_id}
            recent = [r for r in self.rows(name, **key, deleted=True) if r["deleted_at"] != moment]
            for row in recent:
                self.change(name, {"id": row["id"]}, deleted_at=moment + timedelta(seconds=1))
        self.restore(image_id)
        for row in (*self.rows("image_properties", name="earlier"), *self.rows("image_tags", value="earlier")):
            self.assertTrue(row["deleted"])
        image = self.db.images.get(image_id)
        self.assertEqual(({"k": "v", "l": "w"}, {"t", "u"}), (dict(image.properties), set(image.tags)))
        self.assertEqual([("p", "accepted"), ("q", "accepted")], [(m.project, m.status) for m in image.members])

    def test_data_only(self: Any) -> None:
        """R5: status and data alone."""
        image_id = self.whole()
        self.delete(image_id)
        report = self.restore(image_id, data_only=True)
        self.assertEqual((2, 0), (report["locations"], report["properties"]))
        image = self.db.images.get(image_id)
        self.assertEqual((states.ACTIVE, ["s1", "m1"]), (image.status, image.stores))
        self.assertEqual(({}, (), ()), (dict(image.properties), image.tags, image.members))

    def test_restore_reverts_cleanly(self: Any) -> None:
        """P6, F1: failed after each of its tasks, the image is as pending as before."""
        image_id = self.whole()
        self.delete(image_id)
        self.assertRevertsCleanly(restore_image(image_id))
        self.assertRevertsCleanly(restore_image(image_id, data_only=True))

    def test_some_data_is_gone(self: Any) -> None:
        """R6: a location whose data is gone is reported and left out."""
        image_id = self.whole()
        self.delete(image_id)
        del self.store("m1").objects[image_id]
        report = self.restore(image_id)
        self.assertEqual(1, report["locations"])
        self.assertIn("m1", " ".join(report["told"]))
        self.assertEqual([states.ACTIVE, states.DELETED], self.places(image_id))
        self.assertEqual(["s1"], self.db.images.get(image_id).stores)
        self.scrub()
        self.assertEqual(["s1"], self.stores_with(image_id))

    def test_all_data_is_gone(self: Any) -> None:
        """R6: refused, still pending."""
        image_id = self.pending("m1")
        self.store("m1").objects.clear()
        self._refused(image_id, "its data was not found: the store m1 does not have")

    def test_no_location_left(self: Any) -> None:
        """R6: refused, still pending."""
        image_id = self.pending("m1")
        self.change("image_locations", {"image_id": image_id}, status=states.DELETED)
        self._refused(image_id, "it has no location left")

    def test_the_only_store_is_down(self: Any) -> None:
        """R6: what cannot be looked at is not there; a later try works."""
        image_id = self.pending("m1")

        def down(url: str) -> int:
            raise errors.StoreError("m1 is down.")

        self.store("m1").size = down
        self._refused(image_id, "m1 is down")
        del self.store("m1").size
        self.restore(image_id)
        self.assertEqual(states.ACTIVE, self.status(image_id))

    def test_rows_that_cannot_be_read(self: Any) -> None:
        """R6, S9, S10: a store that is not here and metadata that are broken are told, one good location is enough."""
        image_id = self.whole()
        self.delete(image_id)
        first, second = sorted(row["id"] for row in self.rows("image_locations", image_id=image_id))
        self.change("image_locations", {"id": second}, meta_data={"store": "was"})
        self.raw("UPDATE image_locations SET meta_data = '[1' WHERE id = :i", i=first)
        report = self.restore(image_id)
        self.assertEqual(1, report["locations"])
        self.assertIn("no store 'was'", " ".join(report["told"]))
        self.assertEqual(states.ACTIVE, self.status(image_id))

    def _refused(self: Any, image_id: str, why: str) -> None:
        before = self.world.picture()
        self.assertRaisesRegex(errors.Conflict, why, self.restore, image_id)
        self.assertEqual(before, self.world.picture())
        self.assertEqual([], self.locks())

    def test_not_pending(self: Any) -> None:
        """R4: told with the words of Glance."""
        live, gone = self.world.image(DATA), self.pending("m1")
        self.scrub()
        for image_id, status in ((live, "active"), (gone, "deleted"), (self.world.image(), "queued")):
            text = rf"^cannot restore the image from {status} to active \(wanted from_state=pending_delete\)$"
            self.assertRaisesRegex(errors.Conflict, text, self.restore, image_id)
        self.assertRaisesRegex(errors.NotFound, "^No image found with ID nowhere$", self.restore, "nowhere")

    def test_who_may(self: Any) -> None:
        """C4: only an administrator restores."""
        image_id = self.pending()
        member = Identity(project="owner", user="u", roles=("member",))
        self.assertRaises(errors.Forbidden, self.runner.run, restore_image(image_id), identity=member)

    def test_one_after_the_other(self: Any) -> None:
        """R8: while a scrubber has the image a restore is told so, and the other way round."""
        image_id = self.pending("m1")
        store = self.gated("m1")
        thread = threading.Thread(target=self.scrub)
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=PATIENCE))
        self.assertRaisesRegex(errors.ImageBusy, "is held by run", self.restore, image_id)
        store.gate.set()
        thread.join(PATIENCE)
        self.assertScrubbed(image_id)

    def test_a_restore_under_way(self: Any) -> None:
        """R8, S14: a scrubber leaves an image to the restore that has it, however long its store takes."""
        image_id = self.pending("m1")
        looking, look = threading.Event(), threading.Event()

        def size(url: str) -> int:
            looking.set()
            look.wait(PATIENCE)
            return len(DATA)

        self.store("m1").size = size
        run = self.runner.submit(restore_image(image_id))
        self.assertTrue(looking.wait(PATIENCE))
        report = Scrubber(self.runner).run_pass()
        self.assertEqual((0, 0, 1), (report.images, report.locations, report.held))
        self.assertRaises(errors.ImageBusy, self.restore, image_id)
        look.set()
        run.result(PATIENCE)
        self.assertEqual((states.ACTIVE, ["m1"]), (self.status(image_id), self.stores_with(image_id)))

    def test_a_restore_that_was_overtaken(self: Any) -> None:
        """R8: one that stood still for longer than the lease changes nothing any more."""
        image_id = self.pending("m1")

        def size(url: str) -> int:
            self.raw("UPDATE image_properties SET value = 'another' WHERE name = :n", n=states.LOCK)
            return len(DATA)

        self.store("m1").size = size
        self.assertRaises(errors.LockLost, self.restore, image_id)
        self.assertEqual([states.PENDING_DELETE], self.places(image_id))
        self.assertEqual((states.PENDING_DELETE, ["another"]), (self.status(image_id), self._holders()))

    def test_a_restore_that_was_killed(self: Any) -> None:
        """R8: its claim is void after the lease; until then the image is pending and nobody's."""
        image_id = self.pending("m1")
        self.db.restorations.take("killed", image_id)
        self.assertRaises(errors.ImageBusy, self.restore, image_id)
        old = timeutils.utcnow() - timedelta(seconds=4)
        self.change("image_properties", {"image_id": image_id}, created_at=old, updated_at=old)
        self.restore(image_id)
        self.assertEqual((states.ACTIVE, []), (self.status(image_id), self._holders()))

    def _holders(self: Any) -> list[str]:
        return [row["value"] for row in self.locks()]

    def test_notified(self: Any) -> None:
        """C18: a restore is told to whoever listens."""
        image_id = self.pending("m1", properties={"k": "v"})
        self.restore(image_id)
        (event,) = self.events.of("image.restore")
        self.assertEqual((image_id, 1), (event["id"], event["properties"]))


class RestoreEncrypted:
    """URLs that Glance encrypted; mixed with :class:`tests.contract.scrubs.ScrubEncrypted`."""

    def test_restore_of_encrypted(self: Any) -> None:
        """R6, S9: a location that does not decrypt is told and left out."""
        image_id = self.world.image(DATA, "s1")
        self.world.store(image_id, DATA, "m1")
        self.encrypt(image_id, "another key with 32 characters..")
        url = self.store("s1").url_of(image_id)
        key = self.services.conf.metadata_encryption_key
        first = min(row["id"] for row in self.rows("image_locations", image_id=image_id))
        self.change("image_locations", {"id": first}, value=encrypted(url, key))
        gone = {"deleted": True, "deleted_at": timeutils.utcnow()}
        self.change("image_locations", {"image_id": image_id}, status=states.PENDING_DELETE, **gone)
        self.change("images", {"id": image_id}, status=states.PENDING_DELETE, **gone)
        report = self.runner.run(restore_image(image_id))["restored"]
        self.assertEqual(1, report["locations"])
        self.assertIn("the store m1 does not decrypt", " ".join(report["told"]))
        self.assertEqual(["s1"], self.db.images.get(image_id).stores)
