"""Deletion beside a running Glance: ours is Glance's to the letter, and Glance's stops our runs (S1 to S3, C15)."""

import os
from collections.abc import Mapping
from typing import Any

from glance_flows import errors
from glance_flows.flows import copy_image, delete_image, import_image
from tests.interop.beside import PARTS, BesideGlanceTestCase
from tests.interop.glance_client import GlanceClient, add_member
from tests.interop.glance_server import Override
from tests.interop.waiting import wait_until

DATA = os.urandom(300_017)


class TestDeletionOnSQLite(BesideGlanceTestCase):
    """With ``delayed_delete`` off: the data goes with the image."""

    backend = "sqlite"
    delayed = False

    def configure(self) -> Mapping[str, Override]:
        return {"delayed_delete": self.delayed}

    def _rich_image(self) -> str:
        """An image with data in two stores, and with every kind of row, some of them deleted before."""
        owner: GlanceClient = self.server.as_tenant("owner")
        image_id: str = self.active_image(
            DATA, owner, visibility="shared", tags=["blue", "green"], colour="azure", shape="round", name="rich"
        )
        self.runner.run(copy_image(image_id, to=["s2"]))
        add_member(owner, image_id, "friend")
        owner.patch(
            image_id, [{"op": "remove", "path": "/shape"}, {"op": "replace", "path": "/tags", "value": ["blue"]}]
        )
        return image_id

    def _picture(self, image_id: str) -> dict[str, list[dict[str, Any]]]:
        """Every column of every row of an image; of ids and times only whether there is one."""

        def plain(row: Mapping[str, Any]) -> dict[str, Any]:
            told = {name: str(value).replace(image_id, "ID") for name, value in row.items()}
            vague = [name for name in row if name == "id" or name.endswith("_at")]
            return told | {name: str(row[name] is not None) for name in vague}

        return {part: [plain(row) for row in self.rows(part, image_id)] for part in ("images", *PARTS)}

    def _assert_deleted(self, image_id: str) -> None:
        """Glance answers that there is no such image, and its data is where ``delayed_delete`` wants it."""
        self.assert_nothing_left(image_id, {"s1", "s2"} if self.delayed else set())
        for path in ("", "/file", "/tasks", "/members"):
            self.assertEqual(404, self.glance.request("GET", f"images/{image_id}{path}").status_code, path)
        self.assertNotIn(image_id, [image["id"] for image in self.glance.list()])
        status = "pending_delete" if self.delayed else "deleted"
        self.assertEqual([status], [row["status"] for row in self.rows("images", image_id)])
        self.assertEqual([status] * 2, self.locations(image_id))

    def test_our_deletion_is_that_of_glance(self) -> None:
        theirs, ours = self._rich_image(), self._rich_image()
        self.glance.delete(theirs)
        self._assert_deleted(theirs)
        self.runner.run(delete_image(ours))
        self._assert_deleted(ours)
        self.assertEqual(self._picture(theirs), self._picture(ours))

    def test_an_image_without_data(self) -> None:
        theirs, ours = (self.glance.create_image(tags=["blue"], colour="azure")["id"] for _ in range(2))
        self.glance.delete(theirs)
        self.runner.run(delete_image(ours))
        self.assert_nothing_left(ours)
        self.assertEqual(["deleted"], [row["status"] for row in self.rows("images", ours)])
        self.assertEqual(self._picture(theirs), self._picture(ours))

    def test_a_staged_image(self) -> None:
        theirs, ours = (self.glance.create_image()["id"] for _ in range(2))
        for image_id in (theirs, ours):
            self.glance.stage(image_id, DATA)
        self.glance.delete(theirs)
        self.runner.run(delete_image(ours))
        for image_id in (theirs, ours):
            self.assert_nothing_left(image_id)
        self.assertEqual(self._picture(theirs), self._picture(ours))

    def test_protected_images_are_refused(self) -> None:
        image_id = self.active_image(DATA, protected=True)
        before = self._picture(image_id)
        self.assertRaises(errors.Forbidden, self.runner.run, delete_image(image_id))
        self.assertEqual(before, self._picture(image_id))
        self.assert_held_by({"s1"}, image_id, DATA)
        self.glance.patch(image_id, [{"op": "replace", "path": "/protected", "value": False}])
        self.runner.run(delete_image(image_id))
        self.assertEqual(404, self.glance.request("GET", f"images/{image_id}").status_code)

    def test_deleted_by_glance_while_we_copy(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self.glance.delete(image_id)
        # The run notices by itself: the upload that it waits for is never let go.
        self.assertIsInstance(held.ended(), errors.Gone)
        self.assertEqual([], held.run.leftovers.items)
        self._assert_only_its_own_data_waits(image_id)

    def test_deleted_by_glance_right_before_we_publish(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self.glance.delete(image_id)
        self.assertIsInstance(held.let_go(), errors.Gone)
        self._assert_only_its_own_data_waits(image_id)

    def test_deleted_by_a_glance_that_had_not_seen_our_locations(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s2", "s3")
        with self.late_deletion(image_id):
            held.gates["s2"].open.set()
            wait_until(lambda: self.to_come(image_id) == {"s3"}, 20, what="the location in s2")
        self.assertIsInstance(held.ended(), errors.Gone)
        self.assertEqual([], held.run.leftovers.items)
        self._assert_only_its_own_data_waits(image_id)

    def test_deleted_by_glance_while_we_import(self) -> None:
        image_id = self.glance.create_image()["id"]
        self.glance.stage(image_id, DATA)
        held = self.hold(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s1", "s2")
        self.glance.delete(image_id)
        self.assertIsInstance(held.ended(), errors.Gone)
        self.assertEqual([], held.run.leftovers.items)
        self.assert_nothing_left(image_id)
        tasks = self.database.rows("SELECT status FROM tasks WHERE id = :t", t=held.run.id)
        self.assertEqual([{"status": "failure"}], tasks)

    def test_deleted_by_us_while_glance_copies(self) -> None:
        """The copy of the Glance fails; what it leaves behind itself is not ours to remove."""
        image_id = self.active_image(DATA)
        with self.server.held_saves() as saves:
            self.glance.import_image(image_id, "copy-image", stores=["s2"])
            saves.wait_for_one()
            self.runner.run(delete_image(image_id))
            self.assertEqual(404, self.glance.request("GET", f"images/{image_id}").status_code)

        def ended() -> bool:
            rows = self.database.rows("SELECT status FROM tasks WHERE image_id = :i", i=image_id)
            return {row["status"] for row in rows} <= {"success", "failure"}

        wait_until(ended, 20, what="the end of Glance's copy")
        self.assertEqual(404, self.glance.request("GET", f"images/{image_id}").status_code)
        alive = [row for row in self.rows("image_locations", image_id) if not row["deleted"]]
        self.assertEqual([], alive)

    def _assert_only_its_own_data_waits(self, image_id: str) -> None:
        """What is left is what Glance left of an image that was in s1 alone."""
        self.assert_nothing_left(image_id, {"s1"} if self.delayed else set())
        status = "pending_delete" if self.delayed else "deleted"
        self.assertEqual([status], self.locations(image_id))


class TestDelayedDeletionOnSQLite(TestDeletionOnSQLite):
    """With ``delayed_delete`` on: the data waits for a scrubber."""

    delayed = True


class TestDeletionOnPostgreSQL(TestDeletionOnSQLite):
    backend = "postgresql"


class TestDelayedDeletionOnPostgreSQL(TestDelayedDeletionOnSQLite):
    backend = "postgresql"


class TestDeletionOnMariaDB(TestDeletionOnSQLite):
    backend = "mysql"


class TestDelayedDeletionOnMariaDB(TestDelayedDeletionOnSQLite):
    backend = "mysql"
