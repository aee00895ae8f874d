"""With ``metadata_encryption_key``: either reads the locations that the other wrote (S9)."""

import os
from collections.abc import Mapping

from glance_flows.flows import copy_image, delete_image, import_image
from tests.interop.beside import BesideGlanceTestCase
from tests.interop.glance_client import wait_for_import
from tests.interop.glance_server import Override

DATA = os.urandom(300_017)
RENAME = {"op": "replace", "path": "/name", "value": "renamed"}


class TestEncryptionOnSQLite(BesideGlanceTestCase):
    backend = "sqlite"
    key = "0123456789abcdef"

    def configure(self) -> Mapping[str, Override]:
        return {"metadata_encryption_key": self.key}

    def _imported(self, *stores: str) -> str:
        image_id: str = self.glance.create_image()["id"]
        self.glance.stage(image_id, DATA)
        self.runner.run(import_image(image_id, method="glance-direct", stores=list(stores)))
        return image_id

    def _assert_sealed(self, image_id: str, *stores: str) -> None:
        """No URL can be read in the database; Glance and we read them all, and alike."""
        stored = [row["value"] for row in self.rows("image_locations", image_id)]
        self.assertEqual([], [value for value in stored if "file:" in value or image_id in value])
        # In no order: stores are filled side by side.
        expected = {f"file://{self.root / 'stores' / store / image_id}" for store in stores}
        self.assertEqual(expected, {place["url"] for place in self.glance.show(image_id)["locations"]})
        self.assertEqual(expected, {place.url for place in self.runner.services.db.images.get(image_id).locations})

    def test_glance_reads_ours(self) -> None:
        image_id = self._imported("s2", "s3")
        self._assert_sealed(image_id, "s2", "s3")
        self.assert_held_by({"s2", "s3"}, image_id, DATA)
        self.glance.delete(image_id)
        self.assert_nothing_left(image_id)

    def test_we_read_those_of_glance(self) -> None:
        image_id = self.active_image(DATA)
        self.runner.run(copy_image(image_id, to=["s2"]))
        self._assert_sealed(image_id, "s1", "s2")
        self.assert_held_by({"s1", "s2"}, image_id, DATA)
        self.runner.run(delete_image(image_id))
        self.assert_nothing_left(image_id)

    def test_either_copies_what_the_other_copied(self) -> None:
        image_id = self._imported("s2")
        self.glance.import_image(image_id, "copy-image", stores=["s3"])
        wait_for_import(self.glance, image_id)
        self.runner.run(copy_image(image_id, to=["s1"]))
        self._assert_sealed(image_id, "s2", "s3", "s1")
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_a_save_of_glance_encrypts_ours_anew(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        before = [row["value"] for row in self.rows("image_locations", image_id)]
        self.glance.patch(image_id, [RENAME])
        after = [row["value"] for row in self.rows("image_locations", image_id)]
        self.assertEqual((2, 4), (len(after), len({*before, *after})))
        self.assertIsNone(held.let_go())
        self._assert_sealed(image_id, "s1", "s2", "s3")

    def test_undone_after_a_save_of_glance(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2", "s3"]), "s3")
        self.glance.patch(image_id, [RENAME])
        held.run.cancel()
        held.ended()
        self.assertEqual([], held.run.leftovers.items)
        self.assert_held_by({"s1"}, image_id, DATA)


class TestEncryptionOnPostgreSQL(TestEncryptionOnSQLite):
    backend = "postgresql"
    key = "0123456789abcdef01234567"


class TestEncryptionOnMariaDB(TestEncryptionOnSQLite):
    backend = "mysql"
    key = "0123456789abcdef0123456789abcdef"
