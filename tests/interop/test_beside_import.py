"""What we import and copy is Glance's: it shows, hands out, changes and deletes it as its own (C1, C12, C18, C20)."""

import os
from collections.abc import Mapping

from glance_flows import Identity, errors
from glance_flows.flows import copy_image, delete_image, import_image
from tests.interop.beside import BesideGlanceTestCase, whole
from tests.interop.glance_client import wait_for_import
from tests.interop.glance_server import Override
from tests.interop.web import WebServer

DATA = os.urandom(2 * 1024 * 1024 + 17)
TENANT = Identity(project="tenant", user="tenant-user", roles=("member", "reader"), request_id="req-1")


class TestImportOnSQLite(BesideGlanceTestCase):
    backend = "sqlite"

    def configure(self) -> Mapping[str, Override]:
        web = type(self).web = self.use(WebServer())
        # Read by the Glance and by us alike.
        return {"import_filtering_opts": {"allowed_ports": f"[{web.port}]", "allowed_hosts": "[127.0.0.1]"}}

    web: WebServer

    def _lives(self, image_id: str, stores: set[str], data: bytes = DATA) -> None:
        """Glance does with the image everything that it does with its own."""
        record = self.glance.show(image_id)
        self.assertEqual(("active", len(data)), (record["status"], record["size"]))
        self.assertEqual(("sha512", whole(data).sha512), (record["os_hash_algo"], record["os_hash_value"]))
        self.assertNotIn("os_glance_import_task", record)
        self.assertEqual("", record.get("os_glance_importing_to_stores", ""))
        self.assert_held_by(stores, image_id, data)
        patch = [{"op": "add", "path": "/colour", "value": "azure"}, {"op": "replace", "path": "/name", "value": "new"}]
        self.glance.patch(image_id, patch)
        self.assert_held_by(stores, image_id, data)
        self.assertEqual(("azure", "new"), (self.glance.show(image_id)["colour"], self.glance.show(image_id)["name"]))
        self.glance.delete(image_id)
        self.assert_nothing_left(image_id)
        self.assertEqual({"deleted"}, set(self.locations(image_id)))

    def test_what_glance_staged(self) -> None:
        image_id = self.glance.create_image(name="staged", tags=["blue"], shape="round")["id"]
        self.glance.stage(image_id, DATA)
        self.runner.run(import_image(image_id, method="glance-direct", stores=["s2", "s1"]))
        record = self.glance.show(image_id)
        self.assertEqual((["blue"], "round", "staged"), (record["tags"], record["shape"], record["name"]))
        self.assertNotIn("os_glance_stage_host", self.properties(image_id))
        self._lives(image_id, {"s1", "s2"})

    def test_from_the_web(self) -> None:
        self.web.pages["/image"] = DATA
        image_id = self.glance.create_image()["id"]
        uri = self.web.url("/image")
        self.runner.run(import_image(image_id, method="web-download", uri=uri, all_stores=True))
        self._lives(image_id, {"s1", "s2", "s3"})

    def test_uploaded_to_glance_and_copied(self) -> None:
        image_id = self.active_image(DATA, name="uploaded")
        before = self.rows("images", image_id)[0]
        self.runner.run(copy_image(image_id, to=["s2", "s3"]))
        self.assertEqual(before, self.rows("images", image_id)[0])
        self.assertEqual(["active"] * 3, self.locations(image_id))
        self._lives(image_id, {"s1", "s2", "s3"})

    def test_an_empty_image(self) -> None:
        image_id = self.glance.create_image()["id"]
        self.glance.stage(image_id, b"")
        self.runner.run(import_image(image_id, method="glance-direct", stores=["s1", "s3"]))
        self._lives(image_id, {"s1", "s3"}, b"")

    def test_tasks_as_a_tenant_sees_them(self) -> None:
        tenant = self.server.as_tenant("tenant")
        image_id = tenant.create_image()["id"]
        tenant.stage(image_id, DATA)
        spec = import_image(image_id, method="glance-direct", stores=["s1", "s2"])
        held = self.hold(spec, "s2", identity=TENANT)
        (task,) = tenant.tasks(image_id)
        self.assertEqual(("processing", held.run.id), (task["status"], task["id"]))
        self.assertEqual("importing", tenant.show(image_id)["status"])
        self.assertEqual("s2", tenant.show(image_id)["os_glance_importing_to_stores"])
        self.assertIsNone(held.let_go())
        (task,) = tenant.tasks(image_id)
        self.assertEqual(("success", "", "tenant"), (task["status"], task["message"], task["owner"]))
        self.assertEqual(("tenant-user", "req-1"), (task["user_id"], task["request_id"]))
        self.assertEqual("api_image_import", task["type"])
        self.assertEqual("glance-direct", task["input"]["import_req"]["method"]["name"])
        self.assertGreater(task["expires_at"], task["updated_at"])

    def test_our_tasks_look_like_those_of_glance(self) -> None:
        image_id = self.active_image(DATA)
        self.glance.import_image(image_id, "copy-image", stores=["s2"])
        wait_for_import(self.glance, image_id)
        self.runner.run(copy_image(image_id, to=["s3"]))
        theirs, ours = self.glance.tasks(image_id)
        self.assertEqual(set(theirs), set(ours))
        for name in ("type", "status", "image_id", "deleted"):
            self.assertEqual(theirs[name], ours[name], name)
        for name in ("import_req", "image_id"):
            self.assertIn(name, theirs["input"])
            self.assertIn(name, ours["input"])

    def test_a_failed_import_is_shown_and_can_be_tried_again_by_glance(self) -> None:
        image_id = self.glance.create_image()["id"]
        self.glance.stage(image_id, DATA)
        held = self.hold(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
        held.run.cancel("an operator stopped it.")
        self.assertIsInstance(held.ended(), errors.Cancelled)
        record = self.glance.show(image_id)
        self.assertEqual(("uploading", ""), (record["status"], record["os_glance_importing_to_stores"]))
        (task,) = self.glance.tasks(image_id)
        self.assertEqual("failure", task["status"])
        self.assertIn("stopped", task["message"])
        self.assertEqual((None, None), (self.stored("s1", image_id), self.stored("s2", image_id)))
        self.glance.import_image(image_id, "glance-direct", stores=["s1", "s2"])
        wait_for_import(self.glance, image_id)
        self.assert_held_by({"s1", "s2"}, image_id, DATA)

    def test_nothing_is_added_to_the_database(self) -> None:
        before = self.schema()
        image_id = self.glance.create_image()["id"]
        self.glance.stage(image_id, DATA)
        self.runner.run(import_image(image_id, method="glance-direct"))
        self.runner.run(copy_image(image_id, all_stores=True))
        self.runner.run(delete_image(image_id))
        self.assert_nothing_left(image_id)
        self.assertIn("images", before)
        self.assertEqual(before, self.schema())


class TestImportOnPostgreSQL(TestImportOnSQLite):
    backend = "postgresql"


class TestImportOnMariaDB(TestImportOnSQLite):
    backend = "mysql"
