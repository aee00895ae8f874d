"""``[glance_flows] sync_stores``: what a store holds is on its disk before the database says so (C21)."""

import errno
import os
from typing import Any
from unittest import mock

from glance_flows import errors
from glance_flows.flows import copy_image
from tests.contract.worlds import FlowCase

DATA = b"some bytes of an image " * 9000


class SyncStores(FlowCase):
    """What is asked of the disk, and when, taken down where the driver asks for it."""

    memory = ()
    sync = True

    def configure(self) -> dict[str, Any]:
        return {"glance_flows": {"state_path": self.root / "state", "sync_stores": self.sync}}

    def copied(self, fails: str = "") -> list[tuple[str, list[str]]]:
        """Copy an image to s2 and return what was put on the disk, each with the stores that the image had by then.

        :param fails: the path for which the disk fails
        """
        self.image_id = self.world.image(DATA)
        self.path = str(self.root / "s2" / self.image_id)
        asked: list[tuple[str, list[str]]] = []
        fsync = os.fsync

        def noted(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            asked.append((path, self.db.images.get(self.image_id).stores))
            if path.endswith(fails or self.path * 2):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        with mock.patch("glance_flows.stores.files.os.fsync", noted):
            self.runner.run(copy_image(self.image_id, to=["s2"]))
        return asked

    def test_before_the_location(self) -> None:
        """The file, then its name in the directory, and the location after both; with all of its bytes."""
        asked = self.copied()
        self.assertEqual([(self.path, ["s1"]), (os.path.dirname(self.path), ["s1"])], asked)
        self.assertEqual(["s1", "s2"], self.db.images.get(self.image_id).stores)
        self.assertEqual(DATA, self.bytes_in(self.image_id, "s2"))

    def test_a_disk_that_fails(self) -> None:
        """C12: data that may not be on the disk counts as not stored, and is removed."""
        failure = self.assertRaises(errors.StoreError, self.copied, "/s2")
        self.assertIn("s2", str(failure))
        self.assertEqual((["s1"], ["s1"]), (self.stores_with(self.image_id), self.db.images.get(self.image_id).stores))


class UnsyncedStores(SyncStores):
    """The default."""

    sync = False

    def test_before_the_location(self) -> None:
        """Nothing is asked of the disk: the system writes when it sees fit."""
        self.assertEqual([], self.copied())

    def test_a_disk_that_fails(self) -> None:
        """Nor does it tell that it fails."""
        self.assertEqual([], self.copied("/s2"))
