"""Data that is not what it says, or not safe: refused before it is stored (C24)."""

import struct
from typing import Any

from glance_flows import errors, states
from glance_flows.stores import StagingArea
from tests.contract.flows import Flows

MIB = 1024 * 1024


def qcow2(size: int = 10 * MIB, backing: bytes = b"", features: int = 0) -> bytes:
    """Return the start of a QCOW2 image, version 3."""
    offset = 512 if backing else 0
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, offset, len(backing), 16, size)
    head += struct.pack(">IIQQIIQ", 0, 1, 3 * 65536, 65536, 1, 0, 0)
    head += struct.pack(">QQQII", features, 0, 0, 4, 104)
    return head.ljust(512, b"\0") + backing.ljust(65536 * 4 - 512, b"\0")


def vmdk(kind: bytes = b"monolithicSparse", extent: bytes = b'RW 20480 SPARSE "disk.vmdk"') -> bytes:
    """Return the start of a VMDK image with a descriptor in it."""
    descriptor = (
        b'# Disk DescriptorFile\nversion=1\ncreateType="' + kind + b'"\n# Extent description\n' + extent + b"\n"
    )
    head = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 20480, 128, 1, 20, 512, 21, 26, 128, 0)
    return head.ljust(512, b"\0") + descriptor.ljust(20 * 512, b"\0") + bytes(64 * 1024)


class TestFormats(Flows):
    def asked(self, method: str, data: bytes, disk_format: str, container_format: str = "bare") -> Any:
        image_id = self.ready(method, data, disk_format=disk_format, container_format=container_format)
        return self.spec(method, image_id, data)

    def assertRefused(self, data: bytes, disk_format: str, words: str) -> None:
        """Neither way in takes the data, no store sees a byte, and the image is as before."""
        for method, status in (("web-download", states.QUEUED), ("glance-direct", states.UPLOADING)):
            spec = self.asked(method, data, disk_format)
            image_id = spec.arguments["image_id"]
            before = self.world.picture()
            self.assertRaisesRegex(errors.UnsafeImage, words, self.runner.run, spec)
            self.assertEqual(before, self.world.picture())
            self.assertEqual(status, self.db.images.get(image_id).status)
            self.assertFalse(self.store("m1").started.is_set())

    def test_what_is_what_it_says(self) -> None:
        """C24: safe data of the declared format is taken, and tells how large its disk is."""
        cases = ((qcow2(), "qcow2", 10 * MIB), (b"raw bytes" * 1000, "raw", 9000), (vmdk(), "vmdk", 10 * MIB))
        for data, disk_format, virtual_size in cases:
            for method in ("web-download", "glance-direct"):
                spec = self.asked(method, data, disk_format)
                self.runner.run(spec)
                image = self.db.images.get(spec.arguments["image_id"])
                self.assertEqual((states.ACTIVE, virtual_size), (image.status, image.virtual_size), disk_format)

    def test_another_format(self) -> None:
        """C24: a mismatch with disk_format is refused, either way round."""
        self.assertRefused(qcow2(), "raw", "its data is qcow2, not raw")
        self.assertRefused(b"raw bytes" * 1000, "qcow2", "its data is raw, not qcow2")
        self.assertRefused(vmdk(), "qcow2", "its data is vmdk, not qcow2")

    def test_a_backing_file(self) -> None:
        """C24: an image that reads another file of its host is refused."""
        self.assertRefused(qcow2(backing=b"/etc/passwd"), "qcow2", "backing")

    def test_an_external_data_file(self) -> None:
        """C24: an image whose data is in another file of its host is refused."""
        self.assertRefused(qcow2(features=0b100), "qcow2", "data_file")

    def test_vmdk_extents(self) -> None:
        """C24: an image whose extents name files of its host is refused."""
        self.assertRefused(vmdk(b"monolithicFlat", b'RW 20480 FLAT "/etc/passwd" 0'), "vmdk", "safe vmdk")

    def test_containers_are_not_disks(self) -> None:
        """C24: only bare data is inspected."""
        for method in ("web-download", "glance-direct"):
            spec = self.asked(method, qcow2(backing=b"/etc/passwd"), "raw", "ovf")
            self.runner.run(spec)
            self.assertEqual(states.ACTIVE, self.db.images.get(spec.arguments["image_id"]).status)

    def test_the_option(self) -> None:
        """C24, D2: without require_image_format_match another format is taken, an unsafe image never."""
        self.services.conf.set_override("require_image_format_match", False, group="image_format")
        area = StagingArea(self.services.conf)
        self.services.staging._strict = area._strict
        spec = self.asked("web-download", qcow2(), "raw")
        self.runner.run(spec)
        self.assertEqual(states.ACTIVE, self.db.images.get(spec.arguments["image_id"]).status)
        self.store("m1").started.clear()
        self.assertRefused(qcow2(backing=b"/etc/passwd"), "raw", "backing")

    def test_no_data_to_inspect(self) -> None:
        """C21, C24: an image without a byte is of every format."""
        for disk_format in ("raw", "qcow2", "iso", "vmdk", "aki"):
            spec = self.asked("web-download", b"", disk_format)
            self.runner.run(spec)
            self.assertEqual(0, self.db.images.get(spec.arguments["image_id"]).size)
