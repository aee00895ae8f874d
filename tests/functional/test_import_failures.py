"""Stores and sources that fail, hang, run full or lie, in every place, and what is left then: nothing."""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fixtures

from glance_flows import errors, states
from glance_flows.flows import copy_image, import_image
from glance_flows.stores import DriverStore, Stores
from glance_flows.stores.bounded import Patience
from glance_flows.testing import make_conf
from tests.contract.flows import DATA, METHODS, Flows
from tests.contract.worlds import PATIENCE, eventually


class TestOneFails(Flows):
    def test_siblings_stop_and_are_undone(self) -> None:
        """C12: one fails while one is done and two stand in the middle: all of it goes, promptly."""
        image_id = self.world.image(DATA, properties={"k": "v"})
        before = self.world.picture()
        memory, file, failing = self.hold("m1"), self.hold("s3"), self.hold("m2")
        failing.fail_add, failing.fail_after = errors.StoreError("m2 broke in the middle."), 70_000
        run = self.runner.submit(copy_image(image_id, to=["s2", "m1", "s3", "m2"]))
        for held in (memory, file, failing):
            self.reached(held)
        eventually(lambda: "s2" in self.db.images.get(image_id).stores, "s2 done")
        failing.hold.set()
        # The file store stands in the middle of a write; the one in memory is never let go.
        eventually(lambda: run.token.reason, "the siblings told")
        file.hold.set()
        self.assertRaisesRegex(errors.StoreError, "m2 broke", run.result, PATIENCE)
        self.assertFalse(memory.hold.is_set())
        self.assertUntouched(image_id, before)
        self.assertEqual(["s1"], self.stores_with(image_id))
        self.assertEqual("m2", self.prop(image_id, states.FAILED_IMPORT))
        self.assertEqual("", self.prop(image_id, states.IMPORTING_TO))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual(("failure", "m2 broke in the middle."), (task["status"], task["message"]))

    def test_a_store_that_waits_for_its_turn_does_not_begin(self) -> None:
        """C12, C22: with one lane the stores behind the one that fails never see a byte."""
        self.services.conf.set_override("max_parallel_stores", 1, group="image_import_opts")
        self.store("m1").fail_add = errors.StoreFull("full.")
        self.assertRaises(errors.StoreFull, self.runner.run, self.spec("web-download", stores=["m1", "m2"]))
        self.assertFalse(self.store("m2").started.is_set())

    def test_a_store_that_lies(self) -> None:
        """C21: what was taken otherwise than sent is removed, and the store counts as failed."""
        for method in METHODS:
            spec = self.spec(method)
            before = self.world.picture()
            self.store("m1").corrupt = True
            self.assertRaisesRegex(errors.VerificationFailed, "m1 took other data", self.runner.run, spec)
            self.assertEqual(before, self.world.picture())
            self.assertEqual("m1", self.prop(spec.arguments["image_id"], states.FAILED_IMPORT))

    def test_what_cannot_be_taken_back_is_told(self) -> None:
        """C12, F6: a store that lies and does not delete: the reason stays the lie, the leftover is on record."""
        spec = self.spec("copy-image")
        self.store("m1").corrupt = True
        self.store("m1").fail_delete = errors.StoreError("m1 is read-only now.")
        run = self.runner.submit(spec)
        self.assertRaises(errors.VerificationFailed, run.result, PATIENCE)
        (left,) = run.leftovers.items
        self.assertIn("m1 is read-only now", left)
        (task,) = self.db.tasks_of(run.image_id)
        self.assertIn(left, task["message"])
        self.assertIn("took other data", task["message"])

    def test_undoing_goes_on_past_a_store_that_does_not_delete(self) -> None:
        """C12, F6: one store refuses the undo: the others are undone, the lock goes, the leftover is on record."""
        image_id = self.world.image(DATA)
        failing = self.hold("m2")
        failing.fail_add = errors.StoreFull("m2 is full.")
        self.store("m1").fail_delete = errors.StoreInUse("m1 is in use.")
        run = self.runner.submit(copy_image(image_id, to=["s2", "m1", "m2"]))
        eventually(lambda: {"s2", "m1"} <= set(self.db.images.get(image_id).stores), "two done")
        failing.hold.set()
        self.assertRaises(errors.StoreFull, run.result, PATIENCE)
        self.assertEqual(["s1", "m1"], self.stores_with(image_id))
        self.assertEqual(["s1"], self.db.images.get(image_id).stores)
        self.assertIsNone(self.prop(image_id, states.LOCK))
        (left,) = run.leftovers.items
        self.assertIn("m1 is in use", left)

    def test_data_that_is_gone_already_is_no_leftover(self) -> None:
        """C12: somebody removed a copy before the undo came to it."""
        image_id = self.world.image(DATA)
        failing = self.hold("m2")
        failing.fail_add = errors.StoreFull("m2 is full.")
        run = self.runner.submit(copy_image(image_id, to=["m1", "m2"]))
        eventually(lambda: "m1" in self.db.images.get(image_id).stores, "m1 done")
        self.store("m1").objects.clear()
        failing.hold.set()
        self.assertRaises(errors.StoreFull, run.result, PATIENCE)
        self.assertEqual([], run.leftovers.items)

    def test_a_driver_that_breaks_in_a_way_nobody_foresaw(self) -> None:
        """C12, F2: any exception of a store is a failed store, told without credentials."""
        spec = self.spec("copy-image")
        before = self.world.picture()
        broken = RuntimeError("no route to s3://key:secret@host/bucket")
        self.patch(self.store("s2")._driver, "add", lambda *args, **kwargs: (_ for _ in ()).throw(broken))
        run = self.runner.submit(spec)
        self.assertRaisesRegex(errors.StoreError, r"store s2: no route to s3://\*\*\*@host", run.result, PATIENCE)
        self.assertEqual(before, self.world.picture())
        (task,) = self.db.tasks_of(run.image_id)
        self.assertNotIn("secret", task["message"] + self.logged.output)


class TestStrays(Flows):
    """Objects of the image's name that nobody refers to, as a killed upload leaves them."""

    def test_a_stray_object_is_replaced(self) -> None:
        """C12, C19: in a file store and in memory, whole or half."""
        image_id = self.world.image(DATA)
        for name in ("s2", "m1"):
            self.stray(image_id, name, DATA[: len(DATA) // 2])
        self.runner.run(copy_image(image_id, to=["s2", "m1"]))
        self.assertHolds(image_id, DATA, "s1", "s2", "m1")

    def test_the_data_of_another_image_is_not(self) -> None:
        """C12: an object that another image refers to is left, and the upload fails."""
        image_id, other = self.world.image(DATA), self.world.image(b"other")
        self.stray(image_id, "s2", b"other")
        url = self.store("s2").url_of(image_id)
        self.insert("image_locations", image_id=other, value=url, meta_data={"store": "s2"}, status="active")
        before = self.world.picture()
        self.assertRaises(errors.StoreDuplicate, self.runner.run, copy_image(image_id, to=["s2"]))
        self.assertEqual(before, self.world.picture())

    def test_a_store_that_cannot_tell_where(self) -> None:
        """C12: where the place of an object cannot be known beforehand a stray one is refused, not guessed at."""
        image_id = self.world.image(DATA)
        self.stray(image_id, "m1", b"stray")
        self.patch(self.store("m1"), "url_of", lambda image_id: None)
        before = self.world.picture()
        self.assertRaisesRegex(errors.StoreDuplicate, image_id, self.runner.run, copy_image(image_id, to=["m1"]))
        self.assertEqual(before, self.world.picture())

    def stray(self, image_id: str, name: str, data: bytes) -> None:
        store = self.store(name)
        if name.startswith("m"):
            store.objects[image_id] = data
        else:
            Path(store.url_of(image_id).removeprefix("file://")).write_bytes(data)


class TestSources(Flows):
    """C20: imports whose bytes cannot be had."""

    def assertBack(self, spec: Any, error: type[Exception], word: str) -> None:
        """The import fails, everything is as before, and again once the cause is gone it works."""
        before = self.world.picture()
        self.assertRaisesRegex(error, word, self.runner.run, spec)
        self.assertUntouched(spec.arguments["image_id"], before)

    def test_a_page_that_is_not_there(self) -> None:
        """C20: the image is queued again, and a retry works."""
        spec = self.spec("web-download")
        page = self.site.pages.popitem()
        self.assertBack(spec, errors.SourceFailed, "answers 404")
        self.site.pages.update([page])
        self.runner.run(spec)
        self.assertHolds(spec.arguments["image_id"], DATA, "s2", "m1")

    def test_a_body_that_is_too_short(self) -> None:
        """C20, C23: a short body is an error, not a smaller image."""
        spec = self.spec("web-download")
        self.site.withheld = 10
        self.assertBack(spec, errors.SourceFailed, "stopped in the middle")

    def test_a_server_that_is_not_there(self) -> None:
        """C20: queued again."""
        spec = self.spec("web-download")
        self.site.cleanUp()
        self.assertBack(spec, errors.SourceFailed, "cannot fetch")
        self.site.setUp()

    def test_too_much(self) -> None:
        """C20: image_size_cap holds while the bytes stream."""
        self.services.staging._cap = 1000
        self.assertBack(self.spec("web-download"), errors.TooLarge, "1000 bytes")

    def test_nothing_staged(self) -> None:
        """C20: glance-direct without the file goes back to uploading, and works once it is there."""
        spec = self.spec("glance-direct")
        path = self.services.staging.path(spec.arguments["image_id"])
        path.unlink()
        self.assertBack(spec, errors.Conflict, "nothing is staged")
        path.write_bytes(DATA)
        self.runner.run(spec)
        self.assertHolds(spec.arguments["image_id"], DATA, "s2", "m1")


class TestHanging(Flows):
    def test_a_server_that_takes_and_never_answers(self) -> None:
        """C12, C26: a real S3 driver on an endpoint that hangs is given up after store_timeout; the rest is undone."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            keys = {"s3_store_access_key": "access", "s3_store_secret_key": "secret", "s3_store_bucket": "b"}
            where = {"s3_store_host": f"http://127.0.0.1:{port}", "s3_store_bucket_url_format": "path"}
            options = {"enabled_backends": "hangs:s3", "hangs": {**keys, **where}}
            conf = make_conf(Path(self.useFixture(fixtures.TempDir()).path), "hangs", **options)
            driver = Stores.from_conf(conf).get("hangs")._driver
            store = DriverStore("hangs", "s3", driver, Patience(stall=0.5, grace=0.1), 65536)
            self.services.stores._stores["hangs"] = store
            spec = self.spec("copy-image", stores=["s2", "hangs"])
            before = self.world.picture()
            self.assertRaisesRegex(errors.StoreTimeout, "store hangs made no progress", self.runner.run, spec)
            self.assertUntouched(spec.arguments["image_id"], before)
            self.assertEqual("hangs", self.prop(spec.arguments["image_id"], states.FAILED_IMPORT))


CHILD = """
import resource, sys
from glance_flows import Runner, errors, opts
from glance_flows.flows import copy_image
conf = opts.load([sys.argv[1]])
with Runner.from_conf(conf) as runner:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        runner.run(copy_image(sys.argv[2], to=["s2", "s3"]))
    except errors.StoreFull as failure:
        print(failure)
"""


class TestFull(Flows):
    def test_a_limit_on_the_size_of_files(self) -> None:
        """C12: in another process, whose stores take no more than so many bytes a file."""
        data = bytes(range(256)) * 4096 * 6
        image_id = self.world.image(data)
        before = self.world.picture()
        command = [sys.executable, "-c", CHILD, str(self.root / "glance-flows.conf"), image_id, str(5 * 1024 * 1024)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertIn("it is full", done.stdout, done.stderr)
        self.assertUntouched(image_id, before)

    def test_a_full_disk(self) -> None:
        """C12: a small file system that has room when the upload starts, and none in the middle."""
        disk = Path(tempfile.mkdtemp(dir=self.root))
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, text=True
        )
        if mount.returncode:
            self.skipTest(f"no file system of a limited size can be mounted here: {mount.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        conf = make_conf(disk.parent, "disk", disk={"filesystem_store_datadir": disk})
        self.services.stores._stores["disk"] = Stores.from_conf(conf).get("disk")
        data = bytes(range(256)) * 4096 * 2 + b"!"
        image_id = self.world.image(data)
        before = self.world.picture()
        held = self.hold("disk")
        run = self.runner.submit(copy_image(image_id, to=["s2", "disk"]))
        self.reached(held)
        filler = disk / "filler"
        with self.assertRaises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(64 * 1024))
        held.hold.set()
        self.assertRaisesRegex(errors.StoreFull, "store disk: it is full", run.result, PATIENCE)
        self.assertUntouched(image_id, before)
        self.assertEqual([filler], list(disk.iterdir()))
        filler.unlink()
        self.runner.run(copy_image(image_id, to=["s2", "disk"]))
        self.assertEqual(data, (disk / image_id).read_bytes())


class TestKilled(Flows):
    """What a SIGKILL leaves, and that a new run takes it over."""

    def test_another_run_goes_on_after_the_lease(self) -> None:
        """C19, C25: a process is killed in the middle of a copy; once its lease is over another copy is whole."""
        image_id = self.world.image(DATA)
        script = (
            "import sys, dataclasses\n"
            "from glance_flows import Runner, opts\n"
            "from glance_flows.flows import copy_image\n"
            "from tests.contract.worlds import HeldStore\n"
            "runner = Runner.from_conf(opts.load([sys.argv[1]]))\n"
            "held = HeldStore(runner.services.stores.get('s3'))\n"
            "runner.services.stores._stores['s3'] = held\n"
            "run = runner.submit(copy_image(sys.argv[2], to=['s2', 's3']))\n"
            "assert held.started.wait(30)\n"
            "while 's2' not in runner.services.db.images.get(sys.argv[2]).stores: assert not run.wait(0)\n"
            "print('standing', flush=True)\n"
            "sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", script, str(self.root / "glance-flows.conf"), image_id]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                told = process.stdout.readline()
            finally:
                process.kill()
        self.assertEqual("standing\n", told)
        self.assertTrue(self.bytes_in(image_id, "s3") is not None, "the process was killed before it wrote")
        spec = copy_image(image_id, to=["s3"])
        self.assertRaises(errors.ImageBusy, self.runner.run, spec)
        (dead,) = self.db.tasks_of(image_id)
        self.assertEqual(dead["id"], self.prop(image_id, states.LOCK))
        self.age_lock(image_id, seconds=61)
        self.runner.run(spec)
        self.assertHolds(image_id, DATA, "s1", "s2", "s3")


class TestNoStores(Flows):
    def test_import_without_a_method_task(self) -> None:
        """F1: a flow that was not admitted is not built."""
        self.assertRaises(ValueError, import_image(self.world.image(), method="web-download").build)
