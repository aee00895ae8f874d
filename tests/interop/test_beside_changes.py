"""What users change through Glance while we copy or import stays, and so does what we wrote (P5, C1, C12, C16)."""

import os

from glance_flows import errors
from glance_flows.flows import copy_image, import_image
from tests.interop.beside import BesideGlanceTestCase

DATA = os.urandom(300_017)
CHANGES = (
    {"op": "replace", "path": "/name", "value": "renamed"},
    {"op": "add", "path": "/colour", "value": "azure"},
    {"op": "remove", "path": "/shape"},
    {"op": "replace", "path": "/tags", "value": ["blue", "green"]},
)


class TestChangesOnSQLite(BesideGlanceTestCase):
    backend = "sqlite"

    def _staged_image(self) -> str:
        image_id: str = self.glance.create_image(tags=["blue"], shape="round")["id"]
        self.glance.stage(image_id, DATA)
        return image_id

    def _assert_changed(self, image_id: str) -> None:
        record = self.glance.show(image_id)
        self.assertEqual(("renamed", "azure"), (record["name"], record["colour"]))
        self.assertEqual(["blue", "green"], sorted(record["tags"]))
        self.assertNotIn("shape", record)
        self.assertNotIn("os_glance_import_task", record)
        progress = ("os_glance_importing_to_stores", "os_glance_failed_import")
        self.assertEqual(["", ""], [record.get(name, "") for name in progress])

    def test_changes_during_a_copy_stay(self) -> None:
        image_id = self.active_image(DATA, tags=["blue"], shape="round")
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self.assertEqual({"s1", "s2"}, self.stores_of(image_id))
        self.glance.patch(image_id, CHANGES)
        self.assertIsNone(held.let_go())
        self._assert_changed(image_id)
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_changes_during_an_import_stay(self) -> None:
        image_id = self._staged_image()
        held = self.hold(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
        self.glance.patch(image_id, CHANGES)
        self.assertIsNone(held.let_go())
        self._assert_changed(image_id)
        self.assert_held_by({"s1", "s2"}, image_id, DATA)

    def test_our_locations_outlive_a_save_that_had_not_seen_them(self) -> None:
        image_id = self.active_image(DATA, tags=["blue"], shape="round")
        with self.late_save(image_id, *CHANGES):
            held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
            self.assertEqual(["active", "active"], self.locations(image_id))
        self.assertEqual(["active", "deleted"], self.locations(image_id), "this is what the test is about")
        self.assertIsNone(held.let_go())
        self._assert_changed(image_id)
        self.assertEqual(["active"] * 3, self.locations(image_id))
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_a_copy_that_a_user_removed_meanwhile_stays_removed(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self.assertEqual(204, self.glance.request("DELETE", f"stores/s2/{image_id}").status_code)
        self.assertIsNone(held.let_go())
        self.assert_held_by({"s1", "s3"}, image_id, DATA)
        self.assertEqual(["active", "deleted", "active"], self.locations(image_id))

    def test_nothing_is_left_of_a_copy_that_failed_after_such_a_save(self) -> None:
        image_id = self.active_image(DATA, tags=["blue"], shape="round")
        with self.late_save(image_id, *CHANGES):
            held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        held.run.cancel()
        self.assertIsInstance(held.ended(), errors.Cancelled)
        self._assert_changed(image_id)
        self.assertEqual(["active"], self.locations(image_id))
        self.assert_held_by({"s1"}, image_id, DATA)

    def test_an_old_list_of_stores_to_come_does_not_stay(self) -> None:
        image_id = self.active_image(DATA, tags=["blue"], shape="round")
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self._to_come(image_id, "s2,s3")
        with self.late_save(image_id, *CHANGES):
            self._to_come(image_id, "s3")
        self.assertEqual("s2,s3", self.properties(image_id)["os_glance_importing_to_stores"])
        self.assertIsNone(held.let_go())
        self._assert_changed(image_id)
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def _to_come(self, image_id: str, stores: str) -> None:
        statement = "UPDATE image_properties SET value = :s WHERE image_id = :i AND name = :n"
        self.database.rows(statement, s=stores, i=image_id, n="os_glance_importing_to_stores")

    def test_an_import_is_published_after_a_save_with_the_old_status(self) -> None:
        image_id = self._staged_image()
        with self.late_save(image_id, *CHANGES):
            held = self.hold(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
            self.assertEqual("importing", self.glance.show(image_id)["status"])
        self.assertEqual("uploading", self.glance.show(image_id)["status"], "this is what the test is about")
        self.assertIsNone(held.let_go())
        self.assertEqual("active", self.glance.show(image_id)["status"])
        self._assert_changed(image_id)
        self.assert_held_by({"s1", "s2"}, image_id, DATA)

    def test_an_import_is_undone_after_a_save_with_the_old_status(self) -> None:
        image_id = self._staged_image()
        with self.late_save(image_id, *CHANGES):
            held = self.hold(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
        held.run.cancel()
        self.assertIsInstance(held.ended(), errors.Cancelled)
        self.assertEqual("uploading", self.glance.show(image_id)["status"])
        self.assertEqual([None, None], [self.stored(name, image_id) for name in ("s1", "s2")])
        self.runner.run(import_image(image_id, method="glance-direct", stores=["s1"]))
        self._assert_changed(image_id)
        self.assert_held_by({"s1"}, image_id, DATA)


class TestChangesOnPostgreSQL(TestChangesOnSQLite):
    backend = "postgresql"


class TestChangesOnMariaDB(TestChangesOnSQLite):
    backend = "mysql"
