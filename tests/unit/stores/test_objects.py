"""Uploads to S3 in parts read no faster than the parts go out."""

import io
import threading

from glance_flows.stores.objects import _Paced
from tests import base


class _Stoppable(io.BytesIO):
    stopped = False

    def read(self, size: int | None = -1) -> bytes:
        if self.stopped:
            raise InterruptedError
        return super().read(size)


class PacedTest(base.TestCase):
    def test_what_fits_is_read_at_once(self) -> None:
        paced = _Paced(io.BytesIO(b"abcdef"), limit=6)
        self.assertEqual([b"abc", b"def"], [paced.read(3), paced.read(3)])

    def test_more_is_read_when_a_part_is_uploaded(self) -> None:
        paced = _Paced(io.BytesIO(b"abcdef"), limit=3)
        paced.read(3)
        upload = threading.Timer(0.05, paced.uploaded, [3])
        upload.start()
        self.addCleanup(upload.join)
        self.assertEqual(b"def", paced.read(3))

    def test_who_waits_can_be_stopped(self) -> None:
        file = _Stoppable(b"abcdef")
        paced = _Paced(file, limit=3)
        paced.read(3)
        file.stopped = True
        self.assertRaises(InterruptedError, paced.read, 3)
