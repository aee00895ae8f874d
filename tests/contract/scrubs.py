"""What scrubbing promises, whatever database it runs on: concrete classes give it one."""

import base64
import contextlib
import dataclasses
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import fixtures
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models
from glance_flows.flows import copy_image, delete_image, restore_image, scrub
from glance_flows.scrubber import Report, Scrubber
from glance_flows.stores.bounded import Patience
from glance_flows.testing import MemoryStore
from tests.contract.worlds import PATIENCE, FlowCase, eventually

DATA = b"ten bytes."
KEY = "an AES key of 32 characters long"
_STAMPED = ("images", "image_locations", "image_properties", "image_tags", "image_members")


class GatedStore(MemoryStore):
    """A store whose deletions wait at a gate, and count how many of them there are at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.gate = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.asked: list[str] = []
        self.inside = self.most = 0
        self._count = threading.Lock()

    def delete(self, url: str) -> None:
        with self._count:
            self.asked.append(url)
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.arrived.release()
        self.gate.wait(PATIENCE)
        with self._count:
            self.inside -= 1
        super().delete(url)


class Pendings(FlowCase):
    """The base of the suites about what was deleted: images at any age after their deletion."""

    def setUp(self) -> None:
        super().setUp()
        # A class has one database on a server, and a pass takes whatever is pending there.
        for table in reversed(models.metadata.sorted_tables):
            self.db.engine.write(lambda connection, table=table: connection.execute(sa.delete(table)))

    def pending(self, *stores: str, ago: float = 100.0, data: bytes = DATA, **values: Any) -> str:
        """Make an image with data in the stores (``s1`` by default) that was deleted ``ago`` seconds ago."""
        first, *others = stores or ("s1",)
        image_id = self.world.image(data, first, **values)
        for name in others:
            self.world.store(image_id, data, name)
        self.runner.run(delete_image(image_id, delayed=True))
        self.age(image_id, ago)
        return image_id

    def age(self, image_id: str, ago: float) -> None:
        """Move the deletion of an image back in time."""
        then = timeutils.utcnow().replace(microsecond=0) - timedelta(seconds=ago)
        for name in _STAMPED:
            key = {"id": image_id} if name == "images" else {"image_id": image_id}
            self.change(name, {**key, "deleted": True}, deleted_at=then)

    def gated(self, name: str) -> GatedStore:
        """Put a gated store in the place of one in memory."""
        store = GatedStore(name)
        self.services.stores._stores[name] = store  # type: ignore[assignment]
        self.addCleanup(store.gate.set)
        return store

    def set(self, **options: Any) -> None:
        """Set options of ``[DEFAULT]``."""
        for name, value in options.items():
            self.services.conf.set_override(name, value)

    def scrub(self, **filters: Any) -> Report:
        """Run a pass."""
        return Scrubber(self.runner, **filters).run_pass()

    def status(self, image_id: str) -> str:
        return self.db.images.get(image_id).status

    def places(self, image_id: str) -> list[str]:
        """Return the statuses of an image's locations in the order of their ids."""
        rows = self.rows("image_locations", image_id=image_id)
        return [row["status"] for row in sorted(rows, key=lambda row: row["id"])]

    def raw(self, statement: str, **values: Any) -> None:
        """Execute SQL as another program would."""
        self.db.engine.write(lambda connection: connection.execute(sa.text(statement), values))

    def locks(self) -> list[dict[str, Any]]:
        """Return the rows that claim an image."""
        return self.rows("image_properties", name=states.LOCK, deleted=False)

    def assertScrubbed(self, *image_ids: str) -> None:
        """The images are deleted, their data is gone, nobody holds them (S4)."""
        for image_id in image_ids:
            self.assertEqual(states.DELETED, self.status(image_id))
            self.assertEqual({states.DELETED}, set(self.places(image_id)))
            self.assertEqual([], self.stores_with(image_id))
        self.assertEqual([], self.locks())


def encrypted(url: str, key: str = KEY) -> str:
    """Encrypt a URL as Glance does: what ends the text is a zero byte and then bytes that are none."""
    text = url.encode() + b"\0"
    text += b"\x07" * (-len(text) % 16)
    vector = os.urandom(16)
    sealer = Cipher(algorithms.AES(key.encode()), modes.CBC(vector)).encryptor()
    return base64.urlsafe_b64encode(vector + sealer.update(text) + sealer.finalize()).decode()


class ScrubTimes:
    """When, how many at once, and what is left of them; mixed with :class:`Pendings`."""

    def test_younger_than_scrub_time(self: Any) -> None:
        """S4: before scrub_time is over nothing changes."""
        self.set(scrub_time=100)
        self.pending("s1", "m1", ago=90, properties={"k": "v"})
        before = self.world.picture()
        report = self.scrub()
        self.assertEqual((0, 0, 0), (report.images, report.locations, report.failed))
        self.assertEqual(before, self.world.picture())

    def test_deleted_again_meanwhile(self: Any) -> None:
        """S4: an image that was restored and deleted again since the pass looked is younger than that."""
        self.set(scrub_time=50)
        image_id = self.pending("s1", "m1")
        claim = self.db.pending.claim

        def late(*args: Any, **kwargs: Any) -> Any:
            self.age(image_id, 10)
            return claim(*args, **kwargs)

        with mock.patch.object(self.db.pending, "claim", late):
            self.assertEqual(0, self.scrub().locations)
        self.assertEqual(["m1", "s1"], sorted(self.stores_with(image_id)))
        self.assertEqual([], self.locks())

    def test_older_than_scrub_time(self: Any) -> None:
        """S4, P4: then the data goes from every store, the locations and the image are deleted."""
        self.set(scrub_time=100)
        young, old = self.pending(ago=90), self.pending("s1", "s2", "m1", ago=100)
        report = self.scrub()
        self.assertScrubbed(old)
        self.assertEqual((1, 3, 0, 0), (report.images, report.locations, report.missing, report.failed))
        self.assertEqual(states.PENDING_DELETE, self.status(young))
        (row,) = self.rows("images", id=old)
        self.assertTrue(row["deleted"] and row["deleted_at"])

    def test_bytes_freed(self: Any) -> None:
        """S16: each location frees the size of its image."""
        self.pending("s1", "m1")
        self.pending("m1")
        self.assertEqual(3 * len(DATA), self.scrub().freed)

    def test_pool(self: Any) -> None:
        """S5: scrub_pool_size images at once, no more and no fewer."""
        for size in (1, 3):
            store = self.gated("m1")
            self.set(scrub_pool_size=size)
            ids = [self.pending("m1") for _ in range(7)]
            threading.Thread(target=self._open_when, args=(store, size)).start()
            self.assertEqual(7, self.scrub().images)
            self.assertEqual(size, store.most)
            self.assertScrubbed(*ids)

    def _open_when(self: Any, store: GatedStore, arrivals: int) -> None:
        for _ in range(arrivals):
            store.arrived.acquire(timeout=PATIENCE)
        store.gate.set()

    def test_stop(self: Any) -> None:
        """S6: the location in hand is finished, no new one begun, claims are dropped; the next pass does the rest."""
        store = self.gated("m1")
        ids = [self.pending("m1") for _ in range(5)]
        scrubber, reports = Scrubber(self.runner), []
        thread = threading.Thread(target=lambda: reports.append(scrubber.run_pass()))
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=PATIENCE))
        scrubber.stop()
        store.gate.set()
        thread.join(PATIENCE)
        (report,) = reports
        self.assertEqual((1, 1, True, 0), (report.images, report.locations, report.stopped, report.failed))
        self.assertEqual(1, len(store.asked))
        self.assertEqual([], self.locks())
        self.assertEqual(4, self.scrub().images)
        self.assertScrubbed(*ids)

    def test_stopped_before_it_began(self: Any) -> None:
        """S6: nothing is begun after a stop."""
        self.pending("m1")
        before = self.world.picture()
        scrubber = Scrubber(self.runner)
        scrubber.stop()
        self.assertEqual(0, scrubber.run_pass().locations)
        self.assertEqual(before, self.world.picture())

    def test_many_pages(self: Any) -> None:
        """S15: pages end where the next begin."""
        ids = [self.pending("m1") for _ in range(23)]
        self.assertEqual(23, self.scrub(page=5).images)
        self.assertScrubbed(*ids)

    def test_an_image_that_a_glance_api_is_just_deleting(self: Any) -> None:
        """S4, S13: between its two steps it is pending but not deleted, and maybe with the stamp of a former life."""
        image_id = self.pending("m1")
        self.change("images", {"id": image_id}, deleted=False)
        self.change("image_locations", {"image_id": image_id}, deleted=False, deleted_at=None, status=states.ACTIVE)
        before = self.world.picture()
        self.assertEqual(0, self.scrub().images)
        self.assertEqual(before, self.world.picture())

    def test_scrub_reverts_cleanly(self: Any) -> None:
        """P6, F1: a flow that fails before data is touched leaves no claim."""
        image_id = self.pending("s1", "m1")
        self.assertRevertsCleanly(scrub([image_id]))
        live = self.world.image(DATA, "m1")
        self.change("image_locations", {"image_id": live}, status=states.PENDING_DELETE, deleted=True)
        self.assertRevertsCleanly(scrub([live], live=True))


class ScrubFailures:
    """What stores and rows can do to a scrubber; mixed with :class:`Pendings`."""

    def test_a_store_that_fails(self: Any) -> None:
        """S7: that location and its image stay, everything else goes on, the next pass tries again."""
        both, only, other = self.pending("s1", "m1"), self.pending("m1"), self.pending("m2")
        self.store("m1").fail_delete = errors.StoreError("m1 is down.")
        report = self.scrub()
        self.assertEqual((1, 2, 2), (report.images, report.locations, report.failed))
        self.assertEqual(
            {(both, "m1", "m1 is down."), (only, "m1", "m1 is down.")},
            {(item["image"], item["store"], item["error"]) for item in report.failures},
        )
        self.assertScrubbed(other)
        self.assertEqual([states.DELETED, states.PENDING_DELETE], self.places(both))
        self.assertEqual([states.PENDING_DELETE], self.places(only))
        self.assertEqual([states.PENDING_DELETE] * 2, [self.status(both), self.status(only)])
        self.store("m1").fail_delete = None
        report = self.scrub()
        self.assertEqual((2, 2, 0, 0), (report.images, report.locations, report.failed, report.missing))
        self.assertScrubbed(both, only)

    def test_a_store_that_is_in_use(self: Any) -> None:
        """S7: data that something uses is left."""
        image_id = self.pending("m1")
        self.store("m1").fail_delete = errors.StoreInUse("the data is in use.")
        self.assertEqual(1, self.scrub().failed)
        self.assertEqual([states.PENDING_DELETE], self.places(image_id))

    def test_a_store_that_does_not_answer(self: Any) -> None:
        """S7, R8: it is asked once a pass, and what it may still be deleting is not restored meanwhile."""
        store = self.store("m1")
        ids = [self.pending("m1") for _ in range(4)]
        asked = []

        def hang(url: str) -> None:
            asked.append(url)
            raise errors.StoreTimeout("m1 made no progress.")

        store.delete = hang
        report = self.scrub(page=1)
        self.assertEqual((1, 4, ["m1"]), (len(asked), report.failed, report.silent))
        (held,) = self.locks()
        self.assertEqual(asked, [store.url_of(held["image_id"])])
        del store.delete
        report = self.scrub(image_id=next(each for each in ids if each != held["image_id"]))
        self.assertEqual((1, 0), (report.images, report.failed))

    def hang(self: Any, name: str, *image_ids: str) -> threading.Event:
        """Have deletions of images in a file store stand still; return what lets them go, and shorten its patience."""
        store, go = self.services.stores.get(name), threading.Event()
        self.addCleanup(go.set)
        delete = store._driver.delete

        def hang(location: Any) -> None:
            if os.path.basename(location.store_location.path) in image_ids:
                go.wait(PATIENCE)
            delete(location)

        self.useFixture(fixtures.MockPatchObject(store, "_patience", Patience(stall=0.3, grace=0.1)))
        self.useFixture(fixtures.MockPatchObject(store._driver, "delete", hang))
        return go

    def test_a_store_whose_calls_never_end(self: Any) -> None:
        """S7, R8: the location it hangs at is told and stays held; the image's others and the other images go on."""
        for size in (1, 4):
            self.set(scrub_pool_size=size)
            stuck, others = self.pending("s1", "s2"), [self.pending("s2") for _ in range(5)]
            go = self.hang("s1", stuck)
            report = self.scrub()
            self.assertEqual((5, 6, ["s1"]), (report.images, report.locations, report.silent))
            ((image_id, store, error),) = [tuple(item.values()) for item in report.failures]
            self.assertEqual((stuck, "s1"), (image_id, store))
            self.assertIn("the deletion from the store s1 made no progress for 0.3 seconds", error)
            self.assertEqual([stuck], [row["image_id"] for row in self.locks()])
            self.assertEqual([states.PENDING_DELETE, states.DELETED], self.places(stuck))
            self.assertEqual([states.DELETED] * 5, [self.status(each) for each in others])
            go.set()
            eventually(lambda each=stuck: self.stores_with(each) == [], "the deletion ends after all")
            # What came of it nobody waited for: the row is as it was, until the next pass finds the data gone.
            self.assertEqual(states.PENDING_DELETE, self.status(stuck))
            self.claims_age(100)
            report = self.scrub()
            self.assertEqual((1, 1, 0), (report.images, report.missing, report.failed))
            self.assertScrubbed(stuck)

    def test_a_database_that_fails_beside_a_call_that_never_ends(self: Any) -> None:
        """R8: the pass fails, and what may still be deleted stays claimed; the rest is free at once."""
        stuck, others = self.pending("s1"), [self.pending("s2") for _ in range(3)]
        go = self.hang("s1", stuck)
        with (
            mock.patch.object(self.db.pending, "finish", side_effect=errors.DatabaseError("it is away.")),
            self.assertRaises(errors.DatabaseError),
        ):
            self.scrub()
        self.assertEqual([stuck], [row["image_id"] for row in self.locks()])
        self.assertRaises(errors.ImageBusy, self.runner.run, restore_image(stuck))
        go.set()
        eventually(lambda: self.stores_with(stuck) == [], "the deletion ends after all")
        self.claims_age(100)
        self.assertEqual(4, self.scrub().images)
        self.assertScrubbed(stuck, *others)

    def claims_age(self: Any, seconds: float) -> None:
        """Make every claim older, as if nobody had renewed it."""
        then = timeutils.utcnow() - timedelta(seconds=seconds)
        self.change("image_properties", {"name": states.LOCK}, created_at=then, updated_at=then)

    def test_more_images_than_are_noted_at_once(self: Any) -> None:
        """S4, S13: a page is read and noted in portions; none of its images is forgotten, whatever becomes of it."""
        self.useFixture(fixtures.MockPatch("glance_flows.tasks.scrub._PORTION", 2))
        self.set(scrub_pool_size=3)
        ids = [self.pending("m1", "s1") for _ in range(7)]
        bare, failing = self.pending("m1"), self.pending("m2")
        self.raw("DELETE FROM image_locations WHERE image_id = :i", i=bare)
        self.store("m2").fail_delete = errors.StoreError("m2 is down.")
        report = self.scrub()
        self.assertEqual((8, 14, 1), (report.images, report.locations, report.failed))
        self.assertEqual([states.DELETED] * 8, [self.status(each) for each in (*ids, bare)])
        self.assertEqual(states.PENDING_DELETE, self.status(failing))
        self.assertEqual([], self.locks())

    def test_data_that_is_gone(self: Any) -> None:
        """S8: the location becomes deleted, it is no error, and frees nothing."""
        image_id = self.pending("m1", "s1")
        del self.store("m1").objects[image_id]
        report = self.scrub()
        self.assertScrubbed(image_id)
        self.assertEqual((1, 0, len(DATA)), (report.missing, report.failed, report.freed))
        self.assertIn("was gone already", self.logged.output)

    def test_a_store_that_is_not_here(self: Any) -> None:
        """S10: a location whose store was taken out of the configuration is left and reported."""
        image_id, other = self.pending("s1", "m1"), self.pending("s1")
        self.change("image_locations", {"image_id": image_id, "status": "pending_delete"}, meta_data={"store": "was"})
        before = self.stores_with(image_id)
        report = self.scrub()
        self.assertEqual((1, 2), (report.images, report.failed))
        self.assertIn("no store 'was' on this host", report.failures[0]["error"])
        self.assertEqual(before, self.stores_with(image_id))
        self.assertScrubbed(other)

    def test_the_store_of_the_metadata(self: Any) -> None:
        """S10: the delete goes to the store that the metadata name, not to the one whose folder the URL is in."""
        image_id = self.pending("s1")
        self.change("image_locations", {"image_id": image_id}, meta_data={"store": "m1"})
        self.scrub()
        self.assertEqual(["s1"], self.stores_with(image_id))

    def test_no_store_in_the_metadata(self: Any) -> None:
        """S10: a location without a store, whatever its metadata are, is looked up by its URL."""
        for broken in ("{}", "null", "[1]", '{"store": 7}', "{no json", None):
            with self.subTest(metadata=broken):
                image_id = self.pending("s2")
                self.raw("UPDATE image_locations SET meta_data = :m WHERE image_id = :i", m=broken, i=image_id)
                self.assertEqual(0, self.scrub().failed)
                self.assertScrubbed(image_id)

    def test_a_url_that_no_store_understands(self: Any) -> None:
        """S10: it is left and reported."""
        image_id = self.pending("m1")
        self.change("image_locations", {"image_id": image_id}, meta_data={}, value="swift+https://u:secret@h/c/o")
        report = self.scrub()
        self.assertIn("no store on this host understands", report.failures[0]["error"])
        self.assertEqual([states.PENDING_DELETE], self.places(image_id))
        self.assertNotIn("secret", self.logged.output)

    def test_no_location_left(self: Any) -> None:
        """S13: a pending image with no pending location is moved to deleted."""
        emptied, never = self.pending("m1"), self.pending("m1")
        self.change("image_locations", {"image_id": emptied}, status=states.DELETED)
        self.raw("DELETE FROM image_locations WHERE image_id = :i", i=never)
        report = self.scrub()
        self.assertEqual((2, 0, 0), (report.images, report.locations, report.failed))
        self.assertEqual([states.DELETED] * 2, [self.status(emptied), self.status(never)])


class ScrubLive:
    """Data of images that live on; mixed with :class:`Pendings`."""

    def live(self: Any, ago: float = 100.0, **values: Any) -> str:
        """Make an active image in s1 with a location in m1 that was removed from it."""
        image_id: str = self.world.image(DATA, "m1", **values)
        then = timeutils.utcnow().replace(microsecond=0) - timedelta(seconds=ago)
        gone = {"status": states.PENDING_DELETE, "deleted": True, "deleted_at": then}
        self.change("image_locations", {"image_id": image_id}, **gone)
        self.world.store(image_id, DATA, "s1")
        return image_id

    def test_a_location_of_a_live_image(self: Any) -> None:
        """S12: it is scrubbed, the image stays as it is."""
        image_id = self.live(properties={"k": "v"})
        before = self.rows("images", id=image_id)
        report = self.scrub()
        self.assertEqual((0, 1, 0), (report.images, report.locations, report.failed))
        self.assertEqual(["s1"], self.stores_with(image_id))
        self.assertEqual([states.DELETED, states.ACTIVE], self.places(image_id))
        self.assertEqual(before, self.rows("images", id=image_id))
        self.assertEqual([], self.locks())
        self.assertEqual({"success"}, {row["status"] for row in self.rows("tasks")})

    def test_a_deleted_image_with_data_left(self: Any) -> None:
        """S12: likewise where the image is deleted already."""
        image_id = self.pending("m1")
        self.change("images", {"id": image_id}, status=states.DELETED)
        self.assertEqual(1, self.scrub().locations)
        self.assertScrubbed(image_id)

    def test_scrub_time(self: Any) -> None:
        """S12, S4: it too is kept for scrub_time."""
        self.set(scrub_time=101)
        self.live(ago=90)
        self.assertEqual(0, self.scrub().locations)

    def test_a_younger_location_beside(self: Any) -> None:
        """S4, S12, S16: only what is due goes, and what was marked but not deleted stays: as a dry run lists it."""
        self.set(scrub_time=50)
        image_id = self.live(ago=100)
        for name, gone in (("m2", True), ("m3", False)):
            self.world.store(image_id, DATA, name)
            (row,) = [row for row in self.rows("image_locations", image_id=image_id) if name in str(row["meta_data"])]
            then = timeutils.utcnow().replace(microsecond=0) - timedelta(seconds=10 if gone else 100)
            values = {"status": states.PENDING_DELETE, "deleted": gone, "deleted_at": then}
            self.change("image_locations", {"id": row["id"]}, **values)
        self.assertEqual([("m1",)], [each.stores for each in Scrubber(self.runner).due()])
        self.assertEqual(1, self.scrub().locations)
        self.assertEqual(["m2", "m3", "s1"], sorted(self.stores_with(image_id)))

    def test_restored_meanwhile(self: Any) -> None:
        """S4, S12: a location of a live image that was restored and deleted again since the pass looked stays."""
        self.set(scrub_time=50)
        image_id = self.live(ago=100)
        claim = self.db.pending.claim

        def late(*args: Any, **kwargs: Any) -> Any:
            self.age(image_id, 10)
            return claim(*args, **kwargs)

        with mock.patch.object(self.db.pending, "claim", late):
            self.assertEqual(0, self.scrub().locations)
        self.assertEqual((["m1", "s1"], []), (sorted(self.stores_with(image_id)), self.locks()))

    def test_filters(self: Any) -> None:
        """S12, S16: filters hold for it too."""
        image_id = self.live(owner="mine")
        for filters in ({"owner": "other"}, {"store": "m2"}, {"image_id": self.pending("s2")}):
            self.scrub(**filters)
            self.assertEqual(["m1", "s1"], sorted(self.stores_with(image_id)))
        self.scrub(owner="mine", store="m1", image_id=image_id)
        self.assertEqual(["s1"], self.stores_with(image_id))

    def test_an_image_that_is_copied(self: Any) -> None:
        """S12, C25: an import's lock is honoured as long as its task shows signs of life, however old the lock is."""
        image_id = self.live()
        held = self.hold("m2")
        run = self.runner.submit(copy_image(image_id, to=["m2"]))
        self.reached(held)
        old = timeutils.utcnow() - timedelta(hours=1)
        self.change("image_properties", {"image_id": image_id, "name": states.LOCK}, created_at=old, updated_at=old)
        self.assertEqual(0, self.scrub().locations)
        self.assertEqual([run.id], [row["value"] for row in self.locks()])
        held.hold.set()
        run.result(PATIENCE)
        self.assertEqual(1, self.scrub().locations)

    def test_an_import_of_a_glance_api(self: Any) -> None:
        """S12, C25: a glance-api renews its task rarely; its imports are left alone for longer."""
        image_id = self.live()
        self.lock_as_another(image_id, age=600, ours=False)
        self.assertEqual(0, self.scrub().locations)
        self.assertEqual(["m1", "s1"], sorted(self.stores_with(image_id)))


class ScrubShares:
    """Others at work on the same images; mixed with :class:`Pendings`. The lease is 3 seconds."""

    def claim(self: Any, image_id: str, age: float) -> None:
        """Hold an image as a scrubber does that renewed its claim ``age`` seconds ago."""
        then = timeutils.utcnow() - timedelta(seconds=age)
        self.raw("DELETE FROM image_properties WHERE image_id = :i AND name = :n", i=image_id, n=states.LOCK)
        times = {"created_at": then, "updated_at": then}
        self.insert("image_properties", image_id=image_id, name=states.LOCK, value="another", **times)

    def test_what_a_dead_scrubber_held(self: Any) -> None:
        """S14: a claim that nobody renews is taken over, within the lease and in the same pass."""
        void, fresh = self.pending("m1"), self.pending("m1")
        self.claim(void, 4)
        self.claim(fresh, 0)
        report = self.scrub()
        self.assertEqual((2, 0), (report.images, report.held))
        self.assertScrubbed(void, fresh)

    def test_a_claim_that_runs_out_during_the_pass(self: Any) -> None:
        """S14: what was passed over is looked at again, even where its claim is void by the end of a long pass."""
        store = self.gated("m1")
        # The pass comes to the held image first.
        held, other = sorted(self.pending("m1") for _ in range(2))
        self.claim(held, 0)
        reports: list[Report] = []
        thread = threading.Thread(target=lambda: reports.append(self.scrub()))
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=PATIENCE))
        old = timeutils.utcnow() - timedelta(seconds=4)
        self.change("image_properties", {"image_id": held, "name": states.LOCK}, created_at=old, updated_at=old)
        store.gate.set()
        thread.join(PATIENCE)
        self.assertEqual((2, 0, 0), (reports[0].images, reports[0].held, reports[0].failed))
        self.assertEqual([states.DELETED] * 2, [self.status(held), self.status(other)])

    def test_a_claim_that_ends_while_the_pass_looks(self: Any) -> None:
        """S14: what was held when the pass looked for free images, and is free right after, is not forgotten."""
        held, other = self.pending("m1"), self.pending("m1")
        self.claim(held, 0)
        look = self.db.pending.candidates

        def candidates(*arguments: Any) -> list[str]:
            found = look(*arguments)
            self.raw("DELETE FROM image_properties WHERE image_id = :i AND name = :n", i=held, n=states.LOCK)
            return found

        self.useFixture(fixtures.MockPatchObject(self.db.pending, "candidates", candidates))
        report = self.scrub()
        self.assertEqual((2, 0, 0), (report.images, report.held, report.failed))
        self.assertScrubbed(held, other)

    @contextlib.contextmanager
    def another_at(self: Any, image_id: str) -> Iterator[None]:
        """Hold an image as a live scrubber does."""
        stop = threading.Event()

        def renew() -> None:
            while not stop.wait(0.5):
                self.db.pending.renew("another", [image_id])

        self.claim(image_id, 0)
        renewing = threading.Thread(target=renew)
        renewing.start()
        try:
            yield
        finally:
            stop.set()
            renewing.join(PATIENCE)

    def test_what_a_live_scrubber_holds(self: Any) -> None:
        """S14: it is left to him."""
        image_id = self.pending("m1")
        with self.another_at(image_id):
            report = self.scrub()
        self.assertEqual((0, 1, 0), (report.images, report.held, report.failed))
        self.assertEqual(["m1"], self.stores_with(image_id))

    def test_a_store_that_is_slower_than_the_lease(self: Any) -> None:
        """S14, R8: claims are renewed beside a deletion that takes long."""
        image_id = self.pending("m1")
        store = self.gated("m1")
        reports: list[Report] = []
        thread = threading.Thread(target=lambda: reports.append(self.scrub()))
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=PATIENCE))
        (first,) = self.locks()
        # An observer that is patient for longer than the lease finds the claim renewed, and cannot take it.
        other = Scrubber(self.runner)
        report = other.run_pass()
        self.assertEqual((0, 1), (report.locations, report.held))
        (later,) = self.locks()
        self.assertEqual(first["value"], later["value"])
        self.assertGreater(later["updated_at"], first["updated_at"])
        store.gate.set()
        thread.join(PATIENCE)
        self.assertEqual(1, reports[0].images)
        self.assertScrubbed(image_id)

    def test_a_claim_that_was_lost(self: Any) -> None:
        """R8, S14: what somebody else has taken over meanwhile is not deleted."""
        store = self.gated("m1")
        ids = sorted(self.pending("m1") for _ in range(2))
        reports: list[Report] = []
        thread = threading.Thread(target=lambda: reports.append(self.scrub()))
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=PATIENCE))
        (first,) = [each for each in ids if store.asked == [store.url_of(each)]]
        (second,) = set(ids) - {first}
        with self.another_at(second):
            before = self._stamp(first)
            # What the next renewal finds is believed.
            eventually(lambda: self._stamp(first) > before, "the claim was renewed")
            store.gate.set()
            thread.join(PATIENCE)
        self.assertEqual([store.url_of(first)], store.asked)
        self.assertEqual((1, 1, 0), (reports[0].images, reports[0].held, reports[0].failed))
        self.assertEqual(["m1"], self.stores_with(second))

    def _stamp(self: Any, image_id: str) -> Any:
        (row,) = self.rows("image_properties", image_id=image_id, name=states.LOCK)
        return row["updated_at"]


class ScrubChoices:
    """Looking first, and choosing; mixed with :class:`Pendings`."""

    def test_dry_run(self: Any) -> None:
        """S16: what would go is listed, nothing is touched."""
        self.set(scrub_time=50)
        self.pending(ago=10)
        both = self.pending("s1", "m1", name="a name", owner="mine")
        before = self.world.picture()
        (found,) = Scrubber(self.runner).due()
        self.assertEqual((both, ("s1", "m1"), len(DATA), "mine"), (found.id, found.stores, found.size, found.owner))
        self.assertEqual(before, self.world.picture())

    def test_dry_run_lists_what_a_pass_removes(self: Any) -> None:
        """S16, S12: with each filter, the dry run and the pass agree."""
        ids = [self.pending("m1", "s1", owner="a"), self.pending("m2", owner="a"), self.pending("m1", owner="b")]
        self.pending("m2", owner="c")
        live = self.world.image(DATA, "m3", owner="a")
        self.change("image_locations", {"image_id": live}, status="pending_delete", deleted=True)
        self.age(live, 100)
        for filters in ({"image_id": ids[0], "store": "s1"}, {"store": "m1"}, {"owner": "a"}, {}):
            due = sum(len(each.stores) for each in Scrubber(self.runner, **filters).due())
            self.assertGreater(due, 0)
            self.assertEqual(due, self.scrub(**filters).locations, filters)

    def test_a_store(self: Any) -> None:
        """S16: only the data in one store goes; an image with more is not deleted yet."""
        both, only = self.pending("s1", "m1"), self.pending("m1")
        self.assertEqual((1, 2), dataclasses.astuple(self.scrub(store="m1"))[:2])
        self.assertScrubbed(only)
        self.assertEqual((["s1"], states.PENDING_DELETE), (self.stores_with(both), self.status(both)))
        self.assertEqual([states.PENDING_DELETE, states.DELETED], self.places(both))

    def test_an_owner_and_an_image(self: Any) -> None:
        """S16: only their data goes."""
        mine, other = self.pending("m1", owner="mine"), self.pending("m1", owner="other")
        third = self.pending("m1", owner="other")
        self.scrub(owner="mine")
        self.assertScrubbed(mine)
        self.scrub(image_id=other)
        self.assertScrubbed(other)
        self.assertEqual(states.PENDING_DELETE, self.status(third))

    def test_a_store_whose_name_is_like_another(self: Any) -> None:
        """S16: the name of a store is the whole name, and nothing in it is a wildcard."""
        image_id = self.pending("m1")
        for name in ("m", "_1", "%", "m1\\"):
            self.assertEqual(0, self.scrub(store=name).locations)
        self.change("image_locations", {"image_id": image_id}, meta_data={"store": "m1", "also": "m2"})
        self.assertEqual(0, self.scrub(store="m2").locations)
        self.assertEqual([], list(Scrubber(self.runner, store="m2").due()))


class ScrubEncrypted:
    """URLs that Glance encrypted; mixed with :class:`Pendings` under that key."""

    def encrypt(self: Any, image_id: str, key: str) -> None:
        """Encrypt the URLs of an image, which are plain or of our own encryption."""
        for row in self.rows("image_locations", image_id=image_id):
            url = self.store(row["meta_data"]["store"]).url_of(image_id)
            self.change("image_locations", {"id": row["id"]}, value=encrypted(url, key))

    def test_encrypted(self: Any) -> None:
        """S9: URLs are decrypted before use; a row that does not decrypt is skipped and reported."""
        good, bad, plain = ids = [self.world.image(DATA, "s1") for _ in range(3)]
        for image_id in ids:
            self.world.store(image_id, DATA, "m1")
            self.encrypt(image_id, KEY)
            self.runner.run(delete_image(image_id, delayed=True))
            self.age(image_id, 100)
        self.encrypt(bad, KEY[::-1])
        self.change("image_locations", {"image_id": plain}, value=self.store("m1").url_of(plain))
        report = self.scrub()
        self.assertEqual([states.DELETED] * 2, self.places(good))
        self.assertEqual((1, 2, 4), (report.images, report.locations, report.failed))
        for image_id in (bad, plain):
            self.assertEqual([states.PENDING_DELETE] * 2, self.places(image_id))
            self.assertEqual(["m1", "s1"], sorted(self.stores_with(image_id)))
        reasons = {item["error"] for item in report.failures}
        self.assertEqual({"its URL does not decrypt with metadata_encryption_key."}, reasons)
