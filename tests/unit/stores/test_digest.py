"""Digesting a stream."""

import hashlib
import threading
import zlib

from glance_flows import errors
from glance_flows.stores.digest import Digester
from glance_flows.stores.inspect import Inspection
from tests import base


class TestDigester(base.TestCase):
    def test_digests(self) -> None:
        """C21: of every size, whether its digests have threads or not, in chunks of any size."""
        for size in (0, 1, 1024 * 1024, 1024 * 1024 + 1, 5 * 1024 * 1024 + 7):
            data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            for chunk in (64 * 1024, 3 * 1024 * 1024):
                with Digester("sha256") as digester:
                    for at in range(0, size, chunk):
                        digester.update(data[at : at + chunk])
                    found = digester.contents()
                wanted = (size, hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), zlib.crc32(data))
                self.assertEqual(wanted, (found.size, found.checksum, found.hash_value, found.crc32))

    def test_threads_end_whatever_happens(self) -> None:
        """C12: a stream that breaks leaves no thread behind."""
        before = threading.active_count()
        with self.assertRaises(ZeroDivisionError), Digester("sha512") as digester:
            for _ in range(3):
                digester.update(bytes(1024 * 1024))
            raise ZeroDivisionError
        self.assertEqual(before, threading.active_count())

    def test_unknown_algorithms(self) -> None:
        """D2: told by name."""
        self.assertRaisesRegex(errors.BadRequest, "'sha0'", Digester, "sha0")

    def test_the_inspection_sees_all_of_it(self) -> None:
        """C24: the verdict is part of what was found."""
        with Digester("sha256", Inspection("qcow2")) as digester:
            digester.update(b"raw bytes" * 1000)
            self.assertIn("not qcow2", digester.contents().refused)
