"""What every store promises, whatever it is made of: concrete classes give one."""

import dataclasses
import hashlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import fixtures

from glance_flows import errors
from glance_flows.images import Staged
from glance_flows.ports import Reading
from glance_flows.progress import ProgressBoard
from glance_flows.stores import StagingArea
from glance_flows.task import CancelToken
from glance_flows.tasks.data import opened
from glance_flows.tasks.upload import verify
from glance_flows.testing import make_conf
from tests import base

#: Several pieces of every size that a driver reads or writes at a time.
DATA = bytes(range(256)) * 1024 + b"and a rest"


class _Stopping(ProgressBoard):
    """Sets a token once some bytes have gone."""

    def __init__(self, token: CancelToken, after: int) -> None:
        super().__init__()
        self._token, self._left = token, after

    def advance(self, part: str, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self._token.set(errors.Cancelled("the test says so."))


class StoreContract(base.TestCase):
    """One suite for stores; a concrete class makes :attr:`store`, which is empty."""

    store: Any
    data = DATA

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.token, self.board = CancelToken(), ProgressBoard()

    def staged(self, data: bytes | None = None) -> Staged:
        """Stage bytes as a flow does; by default those of :attr:`data`."""
        data = self.data if data is None else data
        staging = StagingArea(make_conf(self.root / "."))
        with opened([data] if data else []) as source:
            return staging.take("image", source.chunks, algorithm="sha256", disk_format=None)

    def add(self, image_id: str, data: bytes | None = None, board: ProgressBoard | None = None) -> Any:
        """Upload bytes; by default those of :attr:`data`."""
        data = self.data if data is None else data
        board = board or self.board
        board.begin(self.store.name, len(data))
        return self.store.add(image_id, self.staged(data), Reading(self.store.name, self.token, board))

    def read(self, url: str) -> bytes:
        """Return an object."""
        with self.store.open(url) as (chunks, size):
            data = b"".join(chunks)
        self.assertIn(size, (len(data), None))
        return data

    def leftovers(self) -> list[str]:
        """Return what a store has beside its objects; a concrete class looks into its store."""
        return []

    def test_what_is_taken_is_what_was_sent(self) -> None:
        """C21: the same bytes, their size and digests as the store took them, and a location that names the store."""
        for image_id, data in (("a", self.data), ("b", b""), ("c", b"x")):
            stored = self.add(image_id, data)
            self.assertEqual(data, self.read(stored.url))
            self.assertEqual(len(data), stored.size)
            self.assertIn(stored.checksum, (None, hashlib.md5(data, usedforsecurity=False).hexdigest()))
            self.assertIn(stored.hash_value, (None, hashlib.sha256(data).hexdigest()))
            self.assertEqual(self.store.name, stored.metadata["store"])
            self.assertEqual(len(data), self.store.size(stored.url))

    def test_progress_counts_every_byte(self) -> None:
        """C26: the bytes of an upload are counted as they go, up to the last."""
        self.add("a")
        (part,) = self.board.parts
        self.assertEqual((self.store.name, len(self.data), len(self.data)), (part.part, part.done, part.total))

    def test_where_an_image_is_can_be_known_beforehand(self) -> None:
        """C19: the place of an object is known without asking, so that a stray one is found."""
        url = self.store.url_of("a")
        self.assertEqual(url, self.add("a").url)
        self.assertEqual(url, self.store.url_of("a"))

    def test_a_url_tells_its_store(self) -> None:
        """S10: a location that names no store is known by its URL."""
        url = self.add("a").url
        self.assertTrue(self.store.owns(url))
        self.assertIn(url.partition(":")[0], self.store.schemes)

    def test_a_second_object_of_a_name_is_refused(self) -> None:
        """C21: the first one stays as it is."""
        url = self.add("a").url
        self.assertRaises(errors.StoreDuplicate, self.add, "a", b"other")
        self.assertEqual(self.data, self.read(url))

    def test_delete(self) -> None:
        """S2: what is deleted is gone, and is not there to be deleted again; another object stays."""
        url, other = self.add("a").url, self.add("b", b"other").url
        self.store.delete(url)
        self.assertRaises(errors.StoreDataMissing, self.store.delete, url)
        self.assertRaises(errors.StoreDataMissing, self.store.size, url)
        self.assertRaises(errors.StoreDataMissing, self.read, url)
        self.assertEqual(b"other", self.read(other))
        self.assertEqual(self.data, self.read(self.add("a").url))

    def test_a_cancelled_upload_leaves_nothing(self) -> None:
        """C12, C15: neither the object nor a part of it, and the name is free again."""
        board = _Stopping(self.token, len(self.data) // 2)
        self.assertRaises(errors.Cancelled, self.add, "a", self.data, board)
        self.assertRaises(errors.StoreDataMissing, self.read, self.store.url_of("a"))
        self.assertEqual([], self.leftovers())
        self.token = CancelToken()
        self.assertEqual(self.data, self.read(self.add("a").url))

    def test_staged_bytes_that_change_are_not_taken_for_the_image(self) -> None:
        """C21: whatever happens between staging and storing, the store's word differs or it refuses."""
        for number, other in enumerate((self.data[:-1] + b"?", self.data + b"?", self.data[:-1])):
            staged = self.staged()
            Path(staged.path).write_bytes(other)
            with self.assertRaises(errors.GlanceFlowsError):
                stored = self.store.add(str(number), staged, Reading("s", self.token, self.board))
                verify(self.store.name, staged, stored)

    def test_staged_bytes_that_vanish(self) -> None:
        """C12: the error says so, and nothing is stored."""
        staged = dataclasses.replace(self.staged(), path=str(self.root / "vanished"))
        reading = Reading("s", self.token, self.board)
        self.assertRaisesRegex(errors.SourceFailed, "no longer", self.store.add, "a", staged, reading)
        self.assertRaises(errors.StoreDataMissing, self.read, self.store.url_of("a"))

    def test_uploads_side_by_side(self) -> None:
        """C22: one store takes several images at once."""
        staged, urls = self.staged(), {}

        def work(image_id: str) -> None:
            urls[image_id] = self.store.add(image_id, staged, Reading("s", self.token, self.board)).url

        threads = [threading.Thread(target=work, args=(f"image-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(4, len(urls))
        self.assertEqual({self.data}, {self.read(url) for url in urls.values()})
