"""Writing staged bytes into files."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from glance_store._drivers import filesystem

from glance_flows import errors
from glance_flows.images import Staged
from glance_flows.ports import Reading
from glance_flows.progress import ProgressBoard
from glance_flows.stores import StagingArea, Stores
from glance_flows.task import CancelToken
from glance_flows.testing import make_conf
from tests import base

DATA = b"0123456789" * 50_000


class TestFileDriver(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)

    def prepare(self, data: bytes = DATA, **options: Any) -> tuple[Any, Staged]:
        section = {"filesystem_store_datadir": self.root / "f", **options}
        conf = make_conf(self.root, "f", f=section, glance_flows={"chunk_size": 65536})
        staged = StagingArea(conf).take("a", [data], algorithm="sha256", disk_format=None)
        return Stores.from_conf(conf).get("f"), staged

    def add(self, store: Any, staged: Staged) -> Any:
        return store.add("a", staged, Reading("f", CancelToken(), ProgressBoard()))

    def test_permissions_are_the_drivers(self) -> None:
        """D2: filesystem_store_file_perm holds for what we write, too."""
        store, staged = self.prepare(filesystem_store_file_perm=640)
        self.add(store, staged)
        self.assertEqual(0o640, (self.root / "f" / "a").stat().st_mode & 0o777)

    def test_paths_are_read_as_the_driver_reads_them(self) -> None:
        """S10: the short way to the path of a plain URL leads where the driver's own does."""
        store, _ = self.prepare()
        for rest in ("/a/b", "/a/b c", "/a%20b", "/a?b#c", "host/a", "/a;b", "/a\tb", " /a", "/a/../b", "//a", "/ä"):
            with self.subTest(rest):
                theirs = filesystem.StoreLocation({}, store._driver.conf)
                theirs.parse_uri(f"file://{rest}")
                self.assertEqual(theirs.path, store.local_path(f"file://{rest}"))
                self.assertEqual(theirs.get_uri(), store._location(f"file://{rest}").store_location.get_uri())
        self.assertRaises(errors.StoreError, store.local_path, "file://")

    def test_below_what_is_no_directory(self) -> None:
        """F6: where no file can be none is looked for when an upload is undone."""
        store, staged = self.prepare()
        (self.root / "f").rmdir()
        self.assertIsNotNone(store.url_of("a"))
        (self.root / "f").touch()
        self.assertIsNone(store.url_of("a"))
        failure = self.assertRaises(errors.StoreError, store.delete, f"file://{self.root}/f/a")
        self.assertIn("Not a directory", str(failure))
        self.assertRaisesRegex(errors.StoreError, "Not a directory", self.add, store, staged)

    def test_a_store_out_of_order(self) -> None:
        """F6: where nobody can look it is not said that there is nothing."""
        (self.root / "f").symlink_to("/proc/there is no such folder")
        conf = make_conf(self.root, "f")
        store = Stores.from_conf(conf).get("f")
        self.assertIsNotNone(store.trouble)
        self.assertRaisesRegex(errors.StoreUnavailable, "store f", store.url_of, "a")

    def test_a_link_in_the_staging_area(self) -> None:
        """C24: a file elsewhere on the host is not what was staged."""
        self.prepare()
        (self.root / "elsewhere").write_bytes(DATA)
        (self.root / "staging" / "b").symlink_to(self.root / "elsewhere")
        area = StagingArea(make_conf(self.root, "f"))
        watched = {"cancel": CancelToken(), "progress": ProgressBoard()}
        self.assertRaises(errors.Conflict, area.look, "b", algorithm="sha256", disk_format=None, **watched)

    def test_a_link_that_appears(self) -> None:
        """C24: between the look and the reading there is no moment in which a file can become a link."""
        self.prepare()
        (self.root / "elsewhere").write_bytes(b"secret")
        area = StagingArea(make_conf(self.root, "f"))
        path = area.path("a")

        class Swapping(ProgressBoard):
            def begin(self, part: str, total: int | None) -> None:
                path.unlink()
                path.symlink_to(path.parent.parent / "elsewhere")

            def advance(self, part: str, count: int) -> None: ...

            def finish(self, part: str, state: str) -> None: ...

        staged = area.look("a", algorithm="sha256", disk_format=None, cancel=CancelToken(), progress=Swapping())
        self.assertEqual(len(DATA), staged.contents.size)
        store = Stores.from_conf(make_conf(self.root, "f")).get("f")
        self.assertRaisesRegex(errors.SourceFailed, "no longer where they were", self.add, store, staged)

    def test_a_link_where_data_is_to_be_staged(self) -> None:
        """C24: nothing is written to where it leads."""
        self.prepare()
        (self.root / "elsewhere").write_bytes(b"precious")
        area = StagingArea(make_conf(self.root, "f"))
        area.path("b").with_suffix(".part").symlink_to(self.root / "elsewhere")
        self.assertRaises(errors.StoreError, area.take, "b", [DATA], algorithm="sha256", disk_format=None)
        self.assertEqual(b"precious", (self.root / "elsewhere").read_bytes())

    def test_what_is_no_file_in_the_staging_area(self) -> None:
        """C24: a pipe that nobody writes to is not waited for."""
        self.prepare()
        area = StagingArea(make_conf(self.root, "f"))
        os.mkfifo(area.path("b"))
        area.path("c").mkdir()
        watched = {"cancel": CancelToken(), "progress": ProgressBoard()}
        for name in ("b", "c", "d"):
            self.assertRaises(errors.Conflict, area.look, name, algorithm="sha256", disk_format=None, **watched)

    def test_holes(self) -> None:
        """D2: with filesystem_thin_provisioning zeros take no room, and are read as they were."""
        data = b"start".ljust(1 << 20, b"\0") + b"end" + bytes(1 << 20)
        store, staged = self.prepare(data, filesystem_thin_provisioning=True)
        self.add(store, staged)
        file = self.root / "f" / "a"
        self.assertEqual(data, file.read_bytes())
        self.assertLess(file.stat().st_blocks * 512, 256 * 1024)

    def test_the_emptier_of_two_directories(self) -> None:
        """D2: filesystem_store_datadirs are chosen by priority, and an image is found wherever it is."""
        folders = f"{self.root}/low:1"
        store, staged = self.prepare(filesystem_store_datadir="", filesystem_store_datadirs=folders)
        self.assertEqual(f"file://{self.root}/low/a", self.add(store, staged).url)
        self.assertEqual(f"file://{self.root}/low/a", store.url_of("a"))

    def test_a_disk_that_runs_full(self) -> None:
        """C12: no room, no quota and a limit on file sizes are told as a full store; nothing stays."""
        store, staged = self.prepare()
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            with self.failing_write(code):
                self.assertRaisesRegex(errors.StoreFull, "store f: it is full", self.add, store, staged)
            self.assertEqual([], os.listdir(self.root / "f"))

    def test_a_disk_that_breaks(self) -> None:
        """C12: any other failure is told with its reason; nothing stays."""
        store, staged = self.prepare()
        with self.failing_write(errno.EIO):
            self.assertRaisesRegex(errors.StoreError, "Input/output error", self.add, store, staged)
        self.assertEqual([], os.listdir(self.root / "f"))

    def test_a_disk_that_takes_a_little_at_a_time(self) -> None:
        """C21: short writes are gone on with."""
        store, staged = self.prepare()
        write = os.write
        with mock.patch("glance_flows.stores.files.os.write", lambda fd, view: write(fd, view[:1000])):
            self.add(store, staged)
        self.assertEqual(DATA, (self.root / "f" / "a").read_bytes())

    @staticmethod
    @contextlib.contextmanager
    def failing_write(code: int) -> Any:
        """Fail the second write to a store."""
        calls = iter(range(9))
        write = os.write

        def failing(descriptor: int, view: memoryview) -> int:
            if next(calls):
                raise OSError(code, os.strerror(code))
            return write(descriptor, view)

        with mock.patch("glance_flows.stores.files.os.write", failing):
            yield
