"""What a real Glance does that is surprising and that our flows live with.

These tests say nothing about our code. One of them turning red means that a newer Glance behaves
differently, and that what we built on the old behaviour is to be looked at again.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from tests.interop.base import SharedGlanceTestCase
from tests.interop.glance_client import wait_for_import
from tests.interop.glance_server import Override

NOW = "2001-01-01 00:00:00"
RENAME = [{"op": "replace", "path": "/name", "value": "renamed"}]


class TestSaving(SharedGlanceTestCase):
    """Glance saves an image as a whole document, with every row that belongs to it."""

    def configure(self) -> Mapping[str, Override]:
        return {"delayed_delete": True, "metadata_encryption_key": "0123456789abcdef"}

    def _properties(self, image_id: str) -> dict[str, dict[str, Any]]:
        rows = self.database.rows("SELECT * FROM image_properties WHERE image_id = :i", i=image_id)
        return {row["name"]: row for row in rows}

    def _location(self, image_id: str) -> dict[str, Any]:
        rows = self.database.rows("SELECT * FROM image_locations WHERE image_id = :i", i=image_id)
        return rows[0]

    def test_a_save_stamps_removed_properties_anew(self) -> None:
        """So ``deleted_at`` does not tell what a delete removed from what was removed before it."""
        admin = self.server.admin
        image_id = admin.create_image(kept="1", removed="2")["id"]
        admin.upload(image_id, b"data")
        admin.patch(image_id, [{"op": "remove", "path": "/removed"}])
        before = self._properties(image_id)["removed"]["deleted_at"]
        admin.patch(image_id, RENAME)
        between = self._properties(image_id)["removed"]["deleted_at"]
        self.assertGreater(between, before)
        admin.delete(image_id)
        after = self._properties(image_id)
        self.assertGreater(after["removed"]["deleted_at"], between)
        self.assertEqual((1, 1), (after["removed"]["deleted"], after["kept"]["deleted"]))

    def test_a_save_encrypts_locations_anew(self) -> None:
        """So a location's value is no key to find its row by, nor fit for compare-and-set."""
        admin = self.server.admin
        image_id = admin.create_image()["id"]
        admin.upload(image_id, b"data")
        before = self._location(image_id)
        admin.patch(image_id, RENAME)
        after = self._location(image_id)
        self.assertEqual(before["id"], after["id"])
        self.assertNotEqual(before["value"], after["value"])


class TestImportLock(SharedGlanceTestCase):
    """The lock is a property; what makes it hold is the task it names."""

    def _lock(self, image_id: str) -> str:
        task_id = str(uuid.uuid4())
        self.database.rows(
            "INSERT INTO image_properties (image_id, name, value, deleted, created_at)"
            " VALUES (:i, 'os_glance_import_task', :t, :no, :now)",
            i=image_id,
            t=task_id,
            no=False,
            now=NOW,
        )
        return task_id

    def _copy(self, image_id: str) -> int:
        body = {"method": {"name": "copy-image"}, "stores": ["s2"]}
        path = f"images/{image_id}/import"
        return self.server.admin.request("POST", path, json=body).status_code

    def _active_image(self) -> str:
        image_id: str = self.server.admin.create_image()["id"]
        self.server.admin.upload(image_id, b"data")
        return image_id

    def _task(self, task_id: str, image_id: str) -> None:
        self.database.rows(
            "INSERT INTO tasks (id, type, status, owner, image_id, deleted, created_at, updated_at)"
            " VALUES (:t, 'api_image_import', 'processing', 'us', :i, :no, :now,"
            " CURRENT_TIMESTAMP)",
            t=task_id,
            i=image_id,
            no=False,
            now=NOW,
        )
        self.database.rows("INSERT INTO task_info (task_id, input) VALUES (:t, '{}')", t=task_id)

    def test_a_lock_without_a_task_is_taken_over_at_once(self) -> None:
        """So whoever takes the lock writes the task row first."""
        image_id = self._active_image()
        self._lock(image_id)
        self.assertEqual(202, self._copy(image_id))
        wait_for_import(self.server.admin, image_id)

    def test_a_lock_of_a_live_task_holds(self) -> None:
        image_id = self._active_image()
        self._task(self._lock(image_id), image_id)
        self.assertEqual(409, self._copy(image_id))

    def test_a_lock_of_a_silent_task_is_taken_over(self) -> None:
        """An hour without ``updated_at`` moving; the task is then failed by whoever takes over."""
        image_id = self._active_image()
        task_id = self._lock(image_id)
        self._task(task_id, image_id)
        self.database.rows("UPDATE tasks SET updated_at = :now WHERE id = :t", now=NOW + ".000000", t=task_id)
        self.assertEqual(202, self._copy(image_id))
        wait_for_import(self.server.admin, image_id)
        messages = self.database.rows("SELECT message FROM task_info WHERE task_id = :t", t=task_id)
        self.assertEqual("Expired lock preempted", messages[0]["message"])


class TestFailedImport(SharedGlanceTestCase):
    """What an import of Glance's own leaves behind."""

    def test_a_failed_staged_import_is_stuck(self) -> None:
        """The image stays ``importing`` with its data staged, and no method accepts it again."""
        server = self.server
        image_id = server.admin.create_image()["id"]
        server.admin.stage(image_id, b"data")
        (self.root / "stores" / "s1" / image_id).write_bytes(b"in the way")
        server.admin.import_image(image_id, "glance-direct", stores=["s1"])
        record = wait_for_import(server.admin, image_id)
        self.assertEqual("importing", record["status"])
        self.assertEqual("s1", record["os_glance_failed_import"])
        self.assertEqual(b"data", (server.staging / image_id).read_bytes())
        messages = [task["message"] for task in server.admin.tasks(image_id)]
        self.assertEqual(["Task failed due to Internal Error"], messages)
