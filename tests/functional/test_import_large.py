"""slow: an image of more bytes than 32 bits count."""

import os
from typing import Any

from glance_flows import states
from glance_flows.flows import import_image
from tests.contract.flows import Flows

GIB = 1024**3
#: What md5sum and sha1sum of the GNU coreutils say of: head -c 4G /dev/zero; printf '!'
MD5 = "110a7cdab64cbbfe930a8b8f8cc9c640"
SHA1 = "41d80c75836d58db1c3f2c9e06dfcce0d25ce919"


class TestLarge(Flows):
    def configure(self) -> dict[str, Any]:
        thin = {"filesystem_store_datadir": self.root / "s2", "filesystem_thin_provisioning": True}
        return {**super().configure(), "s2": thin, "hashing_algorithm": "sha1"}

    def test_four_gib(self) -> None:
        """C21, C26: slow: 4 GiB and a byte, sparse when staged and when stored, every byte digested."""
        image_id = self.world.image()
        self.world.stage(image_id, b"")
        staged = self.services.staging.path(image_id)
        os.truncate(staged, 4 * GIB)
        with open(staged, "ab") as file:
            file.write(b"!")
        run = self.runner.submit(import_image(image_id, method="glance-direct", stores=["s2"]))
        run.result(120)
        image = self.db.images.get(image_id)
        self.assertEqual((states.ACTIVE, 4 * GIB + 1, 4 * GIB + 1), (image.status, image.size, image.virtual_size))
        stored = self.root / "s2" / image_id
        self.assertEqual(4 * GIB + 1, stored.stat().st_size)
        self.assertLess(stored.stat().st_blocks * 512, GIB)
        with open(stored, "rb") as file:
            file.seek(-2, os.SEEK_END)
            self.assertEqual(b"\0!", file.read())
        self.assertEqual((MD5, SHA1), (image.checksum, image.os_hash_value))
        self.assertEqual({4 * GIB + 1}, {part.done for part in run.board.parts})
        self.assertFalse(staged.exists())
