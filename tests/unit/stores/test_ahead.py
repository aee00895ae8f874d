"""Reading from stores that may never answer."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fixtures

from glance_flows import errors
from glance_flows.flows import copy_image
from glance_flows.stores import Stores
from glance_flows.stores.ahead import Ahead
from glance_flows.stores.bounded import Patience
from glance_flows.testing import FlowTestCase, make_conf
from glance_flows.transfer import save_image
from tests import base
from tests.contract.worlds import eventually

PATIENCE = 30
DATA = b"some bytes of an image " * 9000


class Hanging:
    """Chunks of which some never come, until the test lets them."""

    def __init__(self, *chunks: Any) -> None:
        self.hold, self.asked, self.closed = threading.Event(), threading.Event(), threading.Event()
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks, None)
        if isinstance(chunk, BaseException):
            raise chunk
        if chunk is None:
            self.asked.set()
            self.hold.wait()
            raise StopIteration
        return bytes(chunk)

    def close(self) -> None:
        self.closed.set()


class AheadTest(base.TestCase):
    """C11: a chunk that does not come in time is a failure of the store."""

    def hanging(self, *chunks: Any) -> Hanging:
        made = Hanging(*chunks)
        self.addCleanup(made.hold.set)
        return made

    def test_chunks_come_in_order(self) -> None:
        """Whether the reader is faster or slower than whoever asks; what was read from is closed."""
        closed = threading.Event()

        def numbers() -> Iterator[bytes]:
            try:
                yield from (b"%d" % number for number in range(1000))
            finally:
                closed.set()

        self.assertEqual([b"%d" % number for number in range(1000)], list(Ahead(numbers(), "it", PATIENCE)))
        self.assertTrue(closed.wait(PATIENCE))

    def test_one_that_does_not_come(self) -> None:
        chunks = self.hanging(b"a")
        ahead = Ahead(chunks, "the reading", 0.2)
        self.assertEqual(b"a", next(ahead))
        self.assertRaisesRegex(errors.StoreTimeout, "the reading made no progress for 0.2 s", next, ahead)
        ahead.close()
        self.assertFalse(chunks.closed.is_set(), "closed while it is read from")
        chunks.hold.set()
        self.assertTrue(chunks.closed.wait(PATIENCE))

    def test_a_failure(self) -> None:
        """What went before it is still given."""
        ahead = Ahead(self.hanging(b"a", OSError(5, "Input/output error")), "it", PATIENCE)
        self.assertEqual(b"a", next(ahead))
        self.assertRaises(OSError, next, ahead)

    def test_stopped_from_another_thread(self) -> None:
        """C27: whoever waits does not wait for the time-out."""
        chunks = self.hanging()
        ahead = Ahead(chunks, "it", 3600)
        threading.Thread(target=lambda: [chunks.asked.wait(PATIENCE), ahead.stop()]).start()
        self.assertRaisesRegex(errors.SourceFailed, "given up", next, ahead)

    def test_closed_in_the_middle(self) -> None:
        """A reader that waits for somebody to take what it read ends, and closes what it read from."""
        chunks = self.hanging(*[b"x"] * 100)
        ahead = Ahead(chunks, "it", PATIENCE)
        next(ahead)
        ahead.close()
        self.assertTrue(chunks.closed.wait(PATIENCE))

    def test_closed_before_anything_was_read(self) -> None:
        chunks = self.hanging(b"x")
        Ahead(chunks, "it", PATIENCE).close()
        self.assertTrue(chunks.closed.is_set())


class StoreTest(base.TestCase):
    """C11: the time-out of a store holds for reading, too."""

    def setUp(self) -> None:
        super().setUp()
        root = Path(self.useFixture(fixtures.TempDir()).path)
        conf = make_conf(root, "f", glance_flows={"store_timeout": 1, "cancel_grace": 0})
        self.store = Stores.from_conf(conf).get("f")
        self.hold = threading.Event()
        self.addCleanup(self.hold.set)

    def test_a_store_that_does_not_answer(self) -> None:
        self.store._driver.get = lambda location: (iter(()), int(self.hold.wait()))
        with self.assertRaisesRegex(errors.StoreTimeout, "the store f"), self.store.open("file:///x"):
            pass

    def test_a_store_that_stops_answering(self) -> None:
        chunks = Hanging(b"a")
        self.addCleanup(chunks.hold.set)
        self.store._driver.get = lambda location: (chunks, 2)
        with self.store.open("file:///x") as (read, size):
            self.assertEqual((2, b"a"), (size, next(read)))
            self.assertRaisesRegex(errors.StoreTimeout, "the store f made no progress for 1 s", next, read)


class CopyTest(FlowTestCase, base.TestCase):
    """A file that nobody can read on: a pipe that nobody writes to stands for one on a server that went away."""

    def configure(self) -> dict[str, Any]:
        return {"glance_flows": {"state_path": self.root / "state", "store_timeout": 1, "cancel_grace": 0}}

    def hanging_image(self) -> str:
        image_id = self.world.image(DATA)
        self.world.store(image_id, DATA, "s2")
        path = self.root / "s1" / image_id
        path.unlink()
        os.mkfifo(path)
        # Whoever waits for a writer gets one in the end.
        self.addCleanup(lambda: os.close(os.open(path, os.O_RDWR)))
        return image_id

    @staticmethod
    def writer(pipe: Path) -> int | None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it
            return None

    def test_a_source_that_hangs_is_passed_over(self) -> None:
        """C11: the next store's copy is taken."""
        image_id = self.hanging_image()
        run = self.runner.submit(copy_image(image_id, to=["s3"]))
        self.assertTrue(run.wait(PATIENCE), "the copy waits for the store")
        run.result()
        self.assertEqual(DATA, (self.root / "s3" / image_id).read_bytes())

    def test_saving(self) -> None:
        """C11: likewise when an image is saved."""
        out = io.BytesIO()
        save_image(self.services, self.hanging_image(), out)
        self.assertEqual(DATA, out.getvalue())

    def test_a_copy_that_waits_can_be_cancelled(self) -> None:
        """C27: within seconds, whatever the time-out of the store."""
        self.services.staging._patience = Patience(stall=3600, grace=0)
        image_id = self.hanging_image()
        run = self.runner.submit(copy_image(image_id, to=["s3"]))
        writer = eventually(lambda: self.writer(self.root / "s1" / image_id), "somebody reads the pipe")
        self.addCleanup(os.close, writer)
        run.cancel()
        self.assertTrue(run.wait(PATIENCE), "the copy waits for the store")
        self.assertRaises(errors.Cancelled, run.result)
