"""Staging and saving, without a flow."""

import io
import threading
from collections.abc import Iterator

from glance_flows import errors
from glance_flows.testing import FlowTestCase
from glance_flows.transfer import save_image, stage_image
from tests import base


class StageTest(FlowTestCase, base.TestCase):
    """``stage_image``."""

    def test_one_of_two_stagers_wins(self) -> None:
        """Of two that stage one image at once the first to end has it, and the other leaves nothing of its own."""
        image_id = self.world.image()
        waits, go = threading.Event(), threading.Event()

        def slow() -> Iterator[bytes]:
            yield b"slow"
            waits.set()
            go.wait(30)

        told: list[BaseException] = []

        def loser() -> None:
            try:
                stage_image(self.services, image_id, slow())
            except errors.Conflict as failure:
                told.append(failure)

        thread = threading.Thread(target=loser)
        thread.start()
        self.assertTrue(waits.wait(30))
        stage_image(self.services, image_id, [b"quick"])
        go.set()
        thread.join(30)
        self.assertIn("no longer queued", str(told[0]))
        staged = list(self.services.staging.directory.iterdir())
        self.assertEqual([(image_id, b"quick")], [(path.name, path.read_bytes()) for path in staged])

    def test_an_image_without_formats(self) -> None:
        """C2: a format that is not set is a conflict which names it; no byte of the data is asked for."""

        def untouched() -> Iterator[bytes]:
            raise AssertionError("the data was asked for")
            yield b""

        for name in ("disk_format", "container_format"):
            image_id = self.world.image(**{name: None})
            self.assertRaisesRegex(errors.Conflict, name, stage_image, self.services, image_id, untouched())
            self.assertEqual("queued", self.world.db.images.get(image_id).status)
        self.assertFalse(self.services.staging.directory.exists())

    def test_refused_data_leaves_the_image_queued(self) -> None:
        """C24: data that is not what it should be stays out of the staging area."""
        image_id = self.world.image(disk_format="qcow2")
        self.assertRaises(errors.UnsafeImage, stage_image, self.services, image_id, [b"no qcow2" * 100])
        self.assertEqual("queued", self.world.db.images.get(image_id).status)
        self.assertEqual([], list(self.services.staging.directory.iterdir()))


class SaveTest(FlowTestCase, base.TestCase):
    """``save_image``."""

    def test_a_damaged_copy_is_passed_over(self) -> None:
        """C11: the next store's copy is taken, and what was written of the first is gone."""
        image_id = self.world.image(b"good" * 1000)
        self.world.store(image_id, b"good" * 1000, "s2")
        (self.root / "s1" / image_id).write_bytes(b"evil" * 1000)
        out = io.BytesIO()
        save_image(self.services, image_id, out)
        self.assertEqual(b"good" * 1000, out.getvalue())

    def test_what_the_output_does_wrong_is_no_fault_of_a_store(self) -> None:
        """An output that cannot be written says so itself; no other copy is tried."""

        class Full(io.BytesIO):
            def write(self, data: object) -> int:
                raise OSError(28, "No space left on device")

        image_id = self.world.image(b"data")
        self.assertRaises(OSError, save_image, self.services, image_id, Full())
