"""The fixture works: a released Glance does what Glance does, on each kind of database."""

import hashlib
import os

from tests.interop.base import SharedGlanceTestCase
from tests.interop.glance_client import Downloaded, add_member, list_members, wait_for_import

DATA = os.urandom(3 * 1024 * 1024 + 17)
WHOLE = Downloaded(hashlib.sha512(DATA).hexdigest(), len(DATA))


class TestGlanceOnSQLite(SharedGlanceTestCase):
    """One scenario a test, each with images of its own."""

    backend = "sqlite"

    def _active_image(self, **attributes: object) -> str:
        admin = self.server.admin
        image_id: str = admin.create_image(**attributes)["id"]
        admin.upload(image_id, DATA)
        return image_id

    def _deletion(self, image_id: str) -> tuple[str, bool, list[tuple[str, bool]]]:
        image = self.database.rows("SELECT status, deleted FROM images WHERE id = :i", i=image_id)
        locations = self.database.rows("SELECT status, deleted FROM image_locations WHERE image_id = :i", i=image_id)
        pairs = [(str(row["status"]), bool(row["deleted"])) for row in locations]
        return image[0]["status"], bool(image[0]["deleted"]), pairs

    def test_upload_and_download(self) -> None:
        admin = self.server.admin
        image_id = self._active_image(name="uploaded", tags=["blue"], colour="azure")
        record = admin.show(image_id)
        self.assertEqual(("active", "s1"), (record["status"], record["stores"]))
        self.assertEqual((["blue"], "azure"), (record["tags"], record["colour"]))
        self.assertEqual(WHOLE, admin.download(image_id))
        self.assertEqual([image_id], [image["id"] for image in admin.list(name="uploaded")])

    def test_tenants_see_their_own(self) -> None:
        server = self.server
        owner, other = server.as_tenant("owner"), server.as_tenant("other")
        image_id = owner.create_image(visibility="shared")["id"]
        self.assertEqual(404, other.request("GET", f"images/{image_id}").status_code)
        add_member(owner, image_id, "other")
        self.assertEqual(["other"], [m["member_id"] for m in list_members(other, image_id)])
        self.assertEqual("owner", other.show(image_id)["owner"])

    def test_staged_import(self) -> None:
        server = self.server
        image_id = server.admin.create_image(name="staged")["id"]
        server.admin.stage(image_id, DATA)
        self.assertEqual("uploading", server.admin.show(image_id)["status"])
        self.assertEqual(DATA, (server.staging / image_id).read_bytes())
        server.admin.import_image(image_id, "glance-direct", stores=["s1", "s2"])
        wait_for_import(server.admin, image_id)
        self.assertEqual("active", server.admin.show(image_id)["status"])
        self.assertEqual((DATA, DATA), (self.stored("s1", image_id), self.stored("s2", image_id)))
        self.assertEqual([], list(server.staging.glob(f"{image_id}*")))
        self.assertEqual(["success"], [task["status"] for task in server.admin.tasks(image_id)])

    def test_copy_to_a_second_store(self) -> None:
        admin = self.server.admin
        image_id = self._active_image()
        admin.import_image(image_id, "copy-image", stores=["s2"])
        record = wait_for_import(admin, image_id)
        self.assertEqual({"s1", "s2"}, set(record["stores"].split(",")))
        self.assertEqual(DATA, self.stored("s2", image_id))
        self.assertEqual(WHOLE, admin.download(image_id))

    def test_delete_at_once(self) -> None:
        admin = self.server.admin
        image_id = self._active_image()
        admin.delete(image_id)
        self.assertEqual(("deleted", True, [("deleted", True)]), self._deletion(image_id))
        self.assertIsNone(self.stored("s1", image_id))

    def test_killed_and_started_again(self) -> None:
        server = self.server
        image_id = self._active_image()
        server.kill()
        server.restart()
        self.assertEqual(WHOLE, server.admin.download(image_id))


class TestGlanceOnPostgreSQL(TestGlanceOnSQLite):
    backend = "postgresql"


class TestGlanceOnMariaDB(TestGlanceOnSQLite):
    backend = "mysql"
