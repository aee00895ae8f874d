"""What a real Glance leaves of images deleted with ``delayed_delete`` is scrubbed, and Glance can go on from there."""

import contextlib
import json
import os
import threading

import requests

from glance_flows.flows import delete_image
from glance_flows.scrubber import Scrubber
from tests.interop.glance_client import PATCH_TYPE
from tests.interop.pending import DATA, PendingTestCase
from tests.interop.waiting import wait_until

MANY = 12


class TestScrubOnSQLite(PendingTestCase):
    backend = "sqlite"
    writes_beside_others = False

    def test_data_in_two_stores_and_every_kind_of_row(self) -> None:
        """S1, S4: Glance has touched no data; we remove it, and ``glance-manage db purge`` then removes every row."""
        image_id = self.rich_image()
        self.owner.delete(image_id)
        self.assertEqual((["pending_delete"], ["pending_delete"] * 2), self.statuses(image_id))
        self.assert_nothing_left(image_id, {"s1", "s2"})
        report = self.scrub(image_id=image_id)
        self.assertEqual((1, 2, 2 * len(DATA), 0), (report.images, report.locations, report.freed, report.missing))
        self.assert_scrubbed(image_id, 2)
        self.purge()
        self.assert_purged(image_id)

    def test_what_glance_and_we_deleted(self) -> None:
        """S4, S14: one pass does both, another finds nothing."""
        theirs, ours = self.deleted_image(), self.active_image(DATA)
        self.runner.run(delete_image(ours))
        self.scrub()
        for image_id in (theirs, ours):
            self.assert_scrubbed(image_id, 1)
        self.assertEqual((0, 0), (self.scrub().images, self.scrub().locations))
        self.purge()
        self.assert_purged(theirs, ours)

    def test_younger_than_scrub_time(self) -> None:
        """S4: by the stamps of Glance too, ``scrub_time`` counts from the deletion."""
        image_id = self.deleted_image()
        self.runner.services.conf.set_override("scrub_time", 3600)
        self.assertEqual(0, self.scrub(image_id=image_id).locations)
        self.assertEqual((["pending_delete"], ["pending_delete"]), self.statuses(image_id))
        self.assertEqual(DATA, self.stored("s1", image_id))
        self.runner.services.conf.clear_override("scrub_time")
        self.assertEqual(1, self.scrub(image_id=image_id).images)
        self.assert_scrubbed(image_id, 1)

    def test_no_data(self) -> None:
        """S3: an image without data is deleted at once, and nothing is left to us."""
        image_id = self.glance.create_image(tags=["blue"], colour="azure")["id"]
        self.glance.delete(image_id)
        self.assertEqual(0, self.scrub(image_id=image_id).images)
        self.assert_scrubbed(image_id, 0)

    def test_data_that_somebody_removed(self) -> None:
        """S8: it is no error, and Glance's rows end like the others."""
        image_id = self.deleted_image()
        os.unlink(self.root / "stores" / "s1" / image_id)
        report = self.scrub(image_id=image_id)
        self.assertEqual((1, 1, 0), (report.images, report.missing, report.freed))
        self.assert_scrubbed(image_id, 1)

    def test_a_location_that_was_taken_from_a_live_image(self) -> None:
        """S12: Glance leaves its data pending; we remove that, and the image serves on from the other store."""
        image_id = self.active_image(DATA)
        self.copied(image_id, "s2")
        change = [{"op": "remove", "path": "/locations/0"}]
        self.glance.request(
            "PATCH", f"images/{image_id}", json=change, headers={"Content-Type": PATCH_TYPE}
        ).raise_for_status()
        self.assertEqual(["active", "pending_delete"], sorted(self.locations(image_id)))
        (left,) = self.stores_of(image_id)
        self.assertEqual((0, 1), (self.scrub(image_id=image_id).images, self.locations(image_id).count("deleted")))
        self.assert_held_by({left}, image_id, DATA)
        self.glance.delete(image_id)
        self.assertEqual(1, self.scrub(image_id=image_id).images)
        self.assert_scrubbed(image_id, 2)
        self.purge()
        self.assert_purged(image_id)

    def test_deleted_while_glance_copies_it(self) -> None:
        """S4: whatever Glance noted as pending is gone, nothing is left pending, and the rows can be purged.

        Where its copy saves a location again that its deletion had marked, Glance ends it as ``deleted`` with the data
        still there, and what its copy wrote may be in no row at all: neither is a scrubber's to find.
        """
        image_id = self.active_image(DATA)
        with self.server.held_saves() as saves:
            self.glance.import_image(image_id, "copy-image", stores=["s2", "s3"])
            saves.wait_for_one()
            deletion = threading.Thread(target=self._delete, args=(image_id,))
            deletion.start()
        deletion.join()

        def ended() -> bool:
            rows = self.database.rows("SELECT status FROM tasks WHERE image_id = :i", i=image_id)
            return {row["status"] for row in rows} <= {"success", "failure"}

        wait_until(ended, 30, what="the end of Glance's copy")
        rows = self.rows("image_locations", image_id)
        pending = {json.loads(row["meta_data"])["store"] for row in rows if row["status"] == "pending_delete"}
        self.scrub(image_id=image_id)
        statuses, locations = self.statuses(image_id)
        self.assertEqual((["deleted"], {"deleted"}), (statuses, set(locations)))
        self.assertEqual(set(), {name for name in pending if self.stored(name, image_id) is not None})
        self.assertEqual(404, self.glance.request("GET", f"images/{image_id}").status_code)
        self.purge()
        self.assert_purged(image_id)

    def _delete(self, image_id: str) -> None:
        """Delete until it is deleted: on SQLite a Glance fails where its own copy writes at the same time."""
        wait_until(lambda: self.glance.request("DELETE", f"images/{image_id}").status_code in (204, 404), 30)

    def test_the_program_with_the_file_of_glance(self) -> None:
        """S6, S16, D2: exit status 0 and a report; a dry run before has touched nothing."""
        image_id = self.deleted_image()
        dry = self.scrubber("--dry-run", "-f", "json")
        self.assertEqual(0, dry.returncode, dry.stderr)
        self.assertIn(image_id, dry.stdout)
        self.assertEqual(DATA, self.stored("s1", image_id))
        done = self.scrubber("-f", "json")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertGreaterEqual(json.loads(done.stdout)["images"], 1)
        self.assert_scrubbed(image_id, 1)

    def test_while_glance_serves(self) -> None:
        """S14: images are made, read and deleted while pass follows pass; what lives is untouched, what died is gone.

        A Glance on SQLite fails at once where another process writes: there it only reads meanwhile. Elsewhere a pass
        may take an image up while its deletion is not answered yet, for want of any scrub_time here; the answer can be
        an error then, and the image is deleted all the same.
        """
        living = self.active_image(DATA)
        dead = [] if self.writes_beside_others else [self.deleted_image() for _ in range(MANY)]
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                for _ in range(MANY):
                    self.assert_held_by({"s1"}, living, DATA)
                    if self.writes_beside_others:
                        dead.append(self.active_image(DATA))
                        with contextlib.suppress(requests.HTTPError):
                            self.glance.delete(dead[-1])
            except BaseException as failure:
                failures.append(failure)

        serving = threading.Thread(target=serve)
        serving.start()
        passes = 0
        while serving.is_alive():
            self.scrub()
            passes += 1
        self.assertEqual(([], MANY), (failures, len(dead)))
        self.assertGreater(passes, 1)
        self.scrub()
        for image_id in dead:
            self.assert_scrubbed(image_id, 1)
        self.assert_held_by({"s1"}, living, DATA)

    def test_two_scrubbers(self) -> None:
        """S14: two of ours split what Glance left; each location is emptied by one of them."""
        ids = [self.deleted_image() for _ in range(MANY)]
        reports = []
        threads = [
            threading.Thread(target=lambda: reports.append(Scrubber(self.runner, page=2).run_pass())) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([0, 0], [report.failed + report.missing for report in reports])
        for image_id in ids:
            self.assert_scrubbed(image_id, 1)


class TestEncryptedScrubOnSQLite(TestScrubOnSQLite):
    """The same with locations that Glance has encrypted (S9)."""

    key = "0123456789abcdef"

    def test_a_key_that_does_not_fit(self) -> None:
        """S9: the row is left and reported; with the right key the next pass does it."""
        image_id = self.deleted_image()
        other = self.root / f"{image_id}.conf"
        other.write_text("[DEFAULT]\nmetadata_encryption_key = fedcba9876543210\n")
        self.addCleanup(other.unlink)
        done = self.scrubber("--config-file", str(other), "-f", "json")
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertIn("does not decrypt", done.stdout)
        self.assertEqual((["pending_delete"], ["pending_delete"]), self.statuses(image_id))
        self.assertEqual(DATA, self.stored("s1", image_id))
        self.scrub(image_id=image_id)
        self.assert_scrubbed(image_id, 1)


class TestScrubOnPostgreSQL(TestScrubOnSQLite):
    backend = "postgresql"
    writes_beside_others = True


class TestEncryptedScrubOnPostgreSQL(TestEncryptedScrubOnSQLite):
    backend = "postgresql"
    writes_beside_others = True
    key = "0123456789abcdef01234567"


class TestScrubOnMariaDB(TestScrubOnSQLite):
    backend = "mysql"
    writes_beside_others = True


class TestEncryptedScrubOnMariaDB(TestEncryptedScrubOnSQLite):
    backend = "mysql"
    writes_beside_others = True
    key = "0123456789abcdef0123456789abcdef"
