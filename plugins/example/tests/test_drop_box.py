"""The drop box beside an installed glance-flows, found by its entry point like any other method."""

import os
from typing import Any

from glance_flows import errors
from glance_flows.flows import import_image
from glance_flows.testing import FlowTestCase


class DropBoxTest(FlowTestCase):
    """Imports from a directory into file stores."""

    def configure(self) -> dict[str, Any]:
        """Enable the method and give it a directory."""
        self.box = self.root / "box"
        self.box.mkdir()
        return {
            "enabled_import_methods": "[copy-image,drop-box]",
            "import_method_drop_box": {"directory": self.box},
        }

    def test_a_file_becomes_the_image(self) -> None:
        """The bytes in the store are the bytes in the box."""
        data = b"not much of a disk" * 1000
        (self.box / "disk.img").write_bytes(data)
        image_id = self.world.image()
        self.runner.run(import_image(image_id, method="drop-box", parameters={"file": "disk.img"}))
        image = self.world.db.images.get(image_id)
        self.assertEqual(("active", len(data), ["s1"]), (image.status, image.size, image.stores))
        self.assertEqual(data, (self.root / "s1" / image_id).read_bytes())

    def test_it_reverts_cleanly(self) -> None:
        """Whatever task fails, nothing of the import is left."""
        (self.box / "disk.img").write_bytes(b"data")
        spec = import_image(self.world.image(), method="drop-box", parameters={"file": "disk.img"})
        self.assertRevertsCleanly(spec)

    def test_other_files_are_refused(self) -> None:
        """A path, a link, a pipe and a name that is not there are refused at the door, naming the field."""
        os.mkfifo(self.box / "pipe")
        (self.box / "folder").mkdir()
        (self.box / "link").symlink_to("/etc/passwd")
        image_id = self.world.image()
        for name in ("../etc/passwd", "link", "pipe", "folder", "absent", "nul\0", "", None):
            with self.subTest(file=name), self.assertRaisesRegex(errors.BadRequest, "^file:"):
                self.runner.submit(import_image(image_id, method="drop-box", parameters={"file": name}))
