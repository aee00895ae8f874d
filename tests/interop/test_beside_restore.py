"""What a real Glance has deleted comes back as it was, with Glance itself as the judge (R1, R4 to R7)."""

import os
import uuid

from glance_flows.flows import delete_image, restore_image
from tests.interop.beside import PARTS
from tests.interop.pending import DATA, PendingTestCase


class TestRestoreOnSQLite(PendingTestCase):
    """R5 is kept as far as Glance lets it be kept.

    A Glance that deletes an image stamps all of its properties with the time, also those that were removed long before:
    its repository saves the image once more without any property, which deletes each row again. After that nothing
    tells a property that the deletion took from one that its owner had removed, so both come back. Tags and members
    keep the times of their own removal; there the two can be told apart, on databases that keep whole seconds if more
    than a second lies between them. An image that we deleted ourselves has kept the stamps of its properties too.
    """

    backend = "sqlite"

    def _restored(self, image_id: str) -> None:
        done = self.scrubber("--restore", image_id)
        self.assertEqual(0, done.returncode, done.stderr)

    def _assert_here_to_stay(self, image_id: str, before: dict[str, object]) -> None:
        """Glance shows what it showed, serves the same bytes; neither a scrub nor a purge takes any of it (R1, R7)."""
        self.assertEqual(before, self.shown(image_id))
        self.assert_held_by({"s1", "s2"}, image_id, DATA)
        (row,) = self.rows("images", image_id)
        self.assertEqual(("active", 0, None), (row["status"], int(row["deleted"]), row["deleted_at"]))
        alive = {part: [row for row in self.rows(part, image_id) if not row["deleted"]] for part in PARTS}
        self.scrub()
        self.purge()
        self.assertEqual(alive, {part: self.rows(part, image_id) for part in PARTS})
        self.assertEqual(before, self.shown(image_id))
        self.assert_held_by({"s1", "s2"}, image_id, DATA)

    def _assert_can_be_deleted_again(self, image_id: str) -> None:
        self.owner.delete(image_id)
        self.assertEqual((["pending_delete"], ["pending_delete"] * 2), self.statuses(image_id))
        self.assertEqual(1, self.scrub(image_id=image_id).images)
        self.assert_scrubbed(image_id, 2)
        self.purge()
        self.assert_purged(image_id)

    def test_deleted_by_glance(self) -> None:
        """R1, R5, R7: all of it is back, and with it the property removed before, which nothing tells from the rest."""
        image_id = self.rich_image()
        before = self.shown(image_id)
        self.assertEqual((["blue"], [("friend", "pending")]), (before["tags"], before["members"]))
        self.owner.delete(image_id)
        self._restored(image_id)
        self._assert_here_to_stay(image_id, {**before, "shape": "round"})
        self._assert_can_be_deleted_again(image_id)

    def test_deleted_by_us(self) -> None:
        """R1, R5, R7: here the property removed before stays removed."""
        image_id = self.rich_image()
        before = self.shown(image_id)
        self.runner.run(delete_image(image_id))
        self.runner.run(restore_image(image_id))
        self._assert_here_to_stay(image_id, before)
        self._assert_can_be_deleted_again(image_id)

    def test_deleted_and_restored_and_deleted(self) -> None:
        """R1: as often as one likes, in the end without a row too many."""
        image_id = self.rich_image()
        before = {**self.shown(image_id), "shape": "round"}
        for _ in range(3):
            self.owner.delete(image_id)
            self.runner.run(restore_image(image_id))
            self.assertEqual(before, self.shown(image_id))
        self._assert_here_to_stay(image_id, before)

    def test_what_its_owner_does_with_it_next(self) -> None:
        """R1: for Glance it is an image like any other: members see it, tags and properties change, it is copied on."""
        image_id = self.rich_image()
        self.owner.delete(image_id)
        self.runner.run(restore_image(image_id))
        friend = self.server.as_tenant("friend")
        answer = friend.request("PUT", f"images/{image_id}/members/friend", json={"status": "accepted"})
        answer.raise_for_status()
        self.assertEqual(image_id, friend.show(image_id)["id"])
        changes = [{"op": "add", "path": "/shape", "value": "square"}, {"op": "remove", "path": "/colour"}]
        self.owner.patch(image_id, [*changes, {"op": "replace", "path": "/tags", "value": ["green"]}])
        self.copied(image_id, "s3")
        shown = self.shown(image_id)
        self.assertEqual(("square", ["green"]), (shown["shape"], shown["tags"]))
        self.assertNotIn("colour", shown)
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_the_data_alone(self) -> None:
        """R5: with ``data_only`` neither properties nor tags nor members come back."""
        image_id = self.rich_image()
        before = self.shown(image_id)
        self.owner.delete(image_id)
        self.runner.run(restore_image(image_id, data_only=True))
        shown = self.shown(image_id)
        self.assertEqual(([], []), (shown["tags"], shown["members"]))
        self.assertEqual({"colour"}, {name for name in before if name not in shown})
        self.assert_held_by({"s1", "s2"}, image_id, DATA)

    def test_data_that_is_gone_from_one_store(self) -> None:
        """R6: that location is left out; Glance shows and serves the other."""
        image_id = self.rich_image()
        self.owner.delete(image_id)
        os.unlink(self.root / "stores" / "s1" / image_id)
        self._restored(image_id)
        self.assert_held_by({"s2"}, image_id, DATA)
        self.assertEqual(["active", "deleted"], sorted(self.locations(image_id)))

    def test_data_that_is_gone_from_every_store(self) -> None:
        """R6: refused; for Glance it stays deleted."""
        image_id = self.deleted_image()
        os.unlink(self.root / "stores" / "s1" / image_id)
        done = self.scrubber("--restore", image_id)
        self.assertEqual(1, done.returncode, done.stdout)
        self.assertEqual((["pending_delete"], ["pending_delete"]), self.statuses(image_id))
        self.assert_nothing_left(image_id)

    def test_what_cannot_be_restored(self) -> None:
        """R4: an image that Glance serves, one that is scrubbed, and none; nothing changes."""
        active, gone = self.active_image(DATA), self.deleted_image()
        self.scrub(image_id=gone)
        nobody = str(uuid.uuid4())
        wanted = "cannot restore the image from {} to active (wanted from_state=pending_delete)"
        for image_id, told in (
            (active, wanted.format("active")),
            (gone, wanted.format("deleted")),
            (nobody, f"No image found with ID {nobody}"),
        ):
            before = [self.rows(part, image_id) for part in ("images", *PARTS)]
            done = self.scrubber("--restore", image_id)
            self.assertEqual(1, done.returncode, done.stdout)
            self.assertIn(told, done.stderr)
            self.assertEqual(before, [self.rows(part, image_id) for part in ("images", *PARTS)])
        self.assert_held_by({"s1"}, active, DATA)


class TestEncryptedRestoreOnSQLite(TestRestoreOnSQLite):
    """The same with locations that Glance has encrypted (S9)."""

    key = "0123456789abcdef"


class TestRestoreOnPostgreSQL(TestRestoreOnSQLite):
    backend = "postgresql"


class TestEncryptedRestoreOnPostgreSQL(TestEncryptedRestoreOnSQLite):
    backend = "postgresql"
    key = "0123456789abcdef01234567"


class TestRestoreOnMariaDB(TestRestoreOnSQLite):
    backend = "mysql"


class TestEncryptedRestoreOnMariaDB(TestEncryptedRestoreOnSQLite):
    backend = "mysql"
    key = "0123456789abcdef0123456789abcdef"
