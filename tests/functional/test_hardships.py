"""What goes wrong beside the run itself: its databases, its stores, its host, and a process that stood still."""

import multiprocessing
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
from oslo_utils import timeutils
from taskflow import storage
from taskflow.persistence import models

from glance_flows import errors, opts, states
from glance_flows.flow import FlowSpec, series
from glance_flows.flows import copy_image, delete_image, import_image
from glance_flows.persistence.records import RUNNING, SUSPENDED
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.task import Task
from glance_flows.testing import FlowTestCase
from glance_flows.testing.kill import Attempt, attempt, expire_leases, unfinished
from tests import base
from tests.contract.s3 import S3, SECRET
from tests.contract.worlds import PATIENCE, FlowCase, eventually

DATA = b"some bytes of an image " * 9000
_CHILDREN = multiprocessing.get_context("forkserver")


class LeftoversTest(FlowCase):
    """F6: what could not be undone is listed, and finished when the cause is gone."""

    def failed(self, image_id: str) -> Run:
        """A copy to m1 and m2 that fails, and cannot take back what m1 has."""
        self.store("m1").fail_delete = errors.StoreError("m1 is down.")
        self.runner.after = "publish"
        run = self.runner.submit(copy_image(image_id, to=["m1", "m2"]))
        self.assertTrue(run.wait(PATIENCE))
        self.runner.after = None
        self.assertIn("m1 is down", run.leftovers.items[0])
        self.assertEqual(["s1", "m1"], self.stores_with(image_id))
        return run

    def resumed(self, run: Run) -> Run:
        (again,) = self.runner.resume(run.id)
        self.assertTrue(again.wait(PATIENCE))
        return again

    def test_finished_when_the_store_is_back(self) -> None:
        image_id = self.world.image(DATA)
        run = self.failed(image_id)
        self.assertNotEqual([], self.resumed(run).leftovers.items)
        self.assertEqual(1, len(unfinished(self.services)))
        self.store("m1").fail_delete = None
        again = self.resumed(run)
        self.assertEqual([], again.leftovers.items)
        self.assertEqual("blown after publish", str(again.error))
        self.assertEqual(["s1"], self.stores_with(image_id))
        self.assertEqual([], unfinished(self.services))
        self.assertIsNone(self.prop(image_id, states.LOCK))
        self.assertRaisesRegex(errors.Conflict, "is over", self.runner.resume, run.id)

    def test_nothing_of_another_run(self) -> None:
        """C12: a copy that was made there since is not what was left behind."""
        image_id = self.world.image(DATA)
        run = self.failed(image_id)
        self.store("m1").fail_delete = None
        self.runner.run(copy_image(image_id, to=["m1"]))
        self.assertEqual([], self.resumed(run).leftovers.items)
        self.assertEqual(DATA, self.bytes_in(image_id, "m1"))
        self.assertEqual(["s1", "m1"], self.db.images.get(image_id).stores)

    def test_while_another_run_holds_the_image(self) -> None:
        """R8: it waits until the image is free."""
        image_id = self.world.image(DATA)
        run = self.failed(image_id)
        held = self.hold("m3")
        other = self.runner.submit(copy_image(image_id, to=["m3"]))
        self.reached(held)
        self.assertRaises(errors.ImageBusy, self.runner.resume, run.id)
        self.assertEqual([], self.runner.resume())
        held.hold.set()
        other.result(PATIENCE)
        self.store("m1").fail_delete = None
        self.assertEqual([], self.resumed(run).leftovers.items)
        self.assertEqual(["s1", "m3"], self.stores_with(image_id))

    def test_written_down_at_once(self) -> None:
        """F6: a process that dies before its run has ended has told already what it could not undo."""
        image_id = self.world.image(DATA)
        seen: list[Any] = []
        end = self.services.persistence.records.end

        def late(run_id: str, *rest: Any) -> bool:
            seen.extend(self.services.persistence.records.get(run_id).leftovers)
            return end(run_id, *rest)

        with mock.patch.object(self.services.persistence.records, "end", late):
            self.failed(image_id)
        self.assertIn("m1 is down", seen[0]["what"])


class _Odd(Task):
    """Fails with what is no JSON, and with a secret in the reason."""

    def execute(self) -> None:
        failure = errors.StoreError("it is odd")
        failure.args = (object(), "s3://key:hunter2@host/x")
        raise failure from OSError(object(), "hunter2")


class StateTest(FlowCase):
    """The database of the flows' state."""

    def test_killed_before_the_first_fact(self) -> None:
        """F3: taskflow writes its row of facts in two steps; a process that died between them has begun nothing."""
        image_id = self.world.image(DATA)
        run = self.runner.defer(copy_image(image_id, to=["s2"]))
        records = self.services.persistence.records
        self.assertTrue(records.take_over(records.get(run.id), self.runner.holder))
        book = self.services.persistence.book(run.id, run.spec.flow, self.runner.holder, lambda: None)
        book.detail.add(models.TaskDetail(storage.Storage.injector_name, str(uuid.uuid4())))
        book.update_flow_details(book.detail)
        expire_leases(self.services)
        self.runner.resume(run.id)[0].result(PATIENCE)
        self.assertEqual(["s1", "s2"], self.stores_with(image_id))
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])

    def break_writes(self, after: int) -> Any:
        """Have the database fail after so many writes of tasks' states, until the patch is stopped."""
        from glance_flows.persistence.book import Book

        write, count = Book._write_once, [0]

        def failing(book: Book, *rest: Any) -> bool:
            count[0] += 1
            if count[0] > after:
                raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))
            return write(book, *rest)

        return mock.patch.object(Book, "_write_once", failing)

    def test_full_in_the_middle(self) -> None:
        """F3: at whichever write, the run says so soon and can be resumed to its end."""
        for after in range(0, 30, 4):
            with self.subTest(after=after):
                image_id = self.world.image(DATA)
                began = time.monotonic()
                with self.break_writes(after):
                    run = self.runner.submit(copy_image(image_id, to=["s2", "s3"]))
                    self.assertTrue(run.wait(PATIENCE))
                if run.error is None:
                    continue
                self.assertIsInstance(run.error, errors.StateLost)
                self.assertIn("disk is full", str(run.error))
                self.assertLess(time.monotonic() - began, 5)
                expire_leases(self.services)
                (again,) = self.runner.resume(run.id)
                again.result(PATIENCE)
                self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])
                self.assertEqual(["s1", "s2", "s3"], sorted(self.stores_with(image_id)))

    def test_a_failure_that_is_no_json(self) -> None:
        """F2: what a task raises is kept as words, without what it was caused by."""
        image_id = self.world.image(DATA)
        self.runner.build = lambda spec: series("odd", _Odd())  # type: ignore[method-assign]
        began = time.monotonic()
        run = self.runner.submit(delete_image(image_id, delayed=True))
        self.assertTrue(run.wait(PATIENCE))
        self.assertLess(time.monotonic() - began, 5)
        self.assertIsInstance(run.error, errors.StoreError)
        self.assertEqual([], unfinished(self.services))
        self.assertNotIn(b"hunter2", self.stored())

    def stored(self) -> bytes:
        state = Path(self.services.conf.glance_flows.state_path)
        return b"".join(path.read_bytes() for path in state.iterdir())

    def test_two_hundred_at_once(self) -> None:
        """F3: many interrupted runs are taken up together, each by one of two that try."""
        images = [self.world.image(b"x") for _ in range(200)]
        for image_id in images:
            self.runner.defer(copy_image(image_id, to=["s2"]))
        second = Runner(self.services)
        self.addCleanup(second._pulse.close)
        found: list[Run] = []
        threads = [
            threading.Thread(target=lambda runner=runner: found.extend(runner.resume()))
            for runner in (self.runner, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for run in found:
            run.result(120)
        self.assertEqual(200, len({run.id for run in found}))
        self.assertEqual(200, len(found))
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])

    def test_old_runs_are_forgotten(self) -> None:
        """F4: with all that was kept of them; what has something left to do stays."""
        self.runner.run(copy_image(self.world.image(b"x"), to=["s2"]))
        kept = self.runner.defer(copy_image(self.world.image(b"x"), to=["s2"]))
        self.assertEqual(1, self.services.persistence.records.expire(timeutils.utcnow()))
        with self.services.persistence.records.engine.connect() as connection:
            counts = [
                connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar()
                for table in ("runs", "logbooks", "flowdetails", "atomdetails")
            ]
        self.assertEqual([1, 0, 0, 0], counts)
        self.assertEqual(SUSPENDED, self.services.persistence.records.get(kept.id).state)


class ElsewhereTest(FlowTestCase, base.TestCase):
    """Runs that cannot go on where they are resumed."""

    def test_a_store_that_is_not_there(self) -> None:
        """F3: the reason names it, and the run stays as it is."""
        for spec in (
            copy_image(self.world.image(DATA), to=["s3"]),
            delete_image(self.world.image(DATA, "s3"), delayed=False),
        ):
            run = self.runner.defer(spec)
            del_s3 = {name: store for name, store in self.services.stores._stores.items() if name != "s3"}
            with mock.patch.object(self.services.stores, "_stores", del_s3):
                self.assertRaisesRegex(errors.Conflict, "the store s3", self.runner.resume, run.id)
                self.assertEqual([], self.runner.resume())
            self.runner.resume(run.id)[0].result(PATIENCE)

    def test_a_task_that_was_renamed(self) -> None:
        """F3: a run of another version is refused before anything of it is done."""
        conf = str(self.root / "glance-flows.conf")
        self.services.persistence.ready()
        image_id = self.world.image(DATA)
        self.assertIsNone(attempt(Attempt(conf, copy_image(image_id, to=["s2"]).to_json(), 8)))
        expire_leases(self.services)
        with self.services.persistence.records.engine.begin() as connection:
            connection.execute(sa.text("UPDATE atomdetails SET name = 'hoist:s2' WHERE name = 'upload:s2'"))
        before = self.world.picture()
        (record,) = self.services.persistence.records.page(open_only=True)
        self.assertRaisesRegex(errors.Conflict, "version .*hoist:s2", self.runner.resume, record.id)
        self.assertEqual(before, self.world.picture())

    def test_a_method_that_is_not_installed(self) -> None:
        """F3: it is told, and keeps no other run from being resumed."""
        image_id = self.world.image()
        self.world.stage(image_id, DATA)
        run = self.runner.defer(import_image(image_id, method="glance-direct", stores=["s1"]))
        other = self.runner.defer(copy_image(self.world.image(DATA), to=["s2"]))
        build = self.runner.build

        def lacking(spec: FlowSpec) -> Any:
            if spec.flow == "import-image":
                raise errors.ConfigurationError("there is no import method 'glance-direct'.")
            return build(spec)

        why: list[str] = []
        with mock.patch.object(self.runner, "build", lacking):
            (resumed,) = self.runner.resume(told=lambda record, reason: why.append(reason))
            resumed.result(PATIENCE)
        self.assertEqual(other.id, resumed.id)
        self.assertEqual(1, len(why))
        self.assertIn(run.id, why[0])


def _copying(conf: str, spec: str, asked: Any) -> None:
    """What a child does that stands still in the middle of an upload; it tells when it is there, and how it ended."""
    from glance_flows.stores.reader import StagedReader

    pieces = StagedReader.pieces
    runners: list[Runner] = []

    def slowly(reader: StagedReader) -> Any:
        for number, piece in enumerate(pieces(reader)):
            if number == 1:
                # Not in the middle of a transaction: SQLite would keep everybody else waiting.
                (run,) = runners[0]._runs.values()
                lease = run.token.lease
                assert lease is not None
                with runners[0]._pulse._beating, lease._lock:
                    asked.send_bytes(b"here")
                    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            yield piece

    StagedReader.pieces = slowly  # type: ignore[method-assign]
    with Runner(Services.from_conf(opts.load([Path(conf)]))) as runner:
        runners.append(runner)
        run = runner.submit(FlowSpec.from_json(spec))
        run.wait()
    asked.send_bytes(f"{type(run.error).__name__}".encode())


class OvertakenTest(FlowTestCase, base.TestCase):
    """C25: a process that stood still past its lease writes nothing more, and removes nothing that is not its own."""

    def configure(self) -> dict[str, Any]:
        return {"glance_flows": {"state_path": self.root / "state", "lease_seconds": 4, "chunk_size": 65536}}

    def standing(self, image_id: str) -> tuple[Any, Any]:
        self.services.persistence.ready()
        here, there = _CHILDREN.Pipe(duplex=False)
        spec = copy_image(image_id, to=["s2"]).to_json()
        child = _CHILDREN.Process(
            target=_copying, args=(str(self.root / "glance-flows.conf"), spec, there), daemon=True
        )
        child.start()
        self.addCleanup(child.kill)
        self.assertEqual(b"here", here.recv_bytes())
        return child, here

    def went_on(self, child: Any, here: Any) -> str:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGCONT)
        self.assertTrue(here.poll(PATIENCE))
        said: str = here.recv_bytes().decode()
        child.join(PATIENCE)
        return said

    def test_by_its_own_resumption(self) -> None:
        """F3: two processes never work on one run."""
        image_id = self.world.image(DATA)
        child, here = self.standing(image_id)
        (record,) = self.services.persistence.records.page()
        (run,) = eventually(lambda: self.tried(record.id), "the lease is over")
        run.result(PATIENCE)
        self.assertEqual("LockLost", self.went_on(child, here))
        self.assertEqual(["s1", "s2"], self.world.db.images.get(image_id).stores)
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])
        self.assertEqual("success", self.services.persistence.records.get(record.id).state)

    def tried(self, run_id: str) -> list[Run]:
        try:
            return self.runner.resume(run_id)
        except errors.Conflict:
            return []

    def test_by_another_run(self) -> None:
        """C25: nor do two runs on one image; what the first left is cleared up when it is taken up again."""
        image_id = self.world.image(DATA)
        child, here = self.standing(image_id)
        (record,) = self.services.persistence.records.page()
        eventually(lambda: self.copied(image_id), "the lock's lease is over")
        said = self.went_on(child, here)
        self.assertEqual("LockLost", said)
        self.assertEqual(["s1", "s2"], self.world.db.images.get(image_id).stores)
        self.assertEqual([], self.world.wrong())
        if self.services.persistence.records.get(record.id).state == RUNNING:
            expire_leases(self.services)
        for run in self.runner.resume():
            self.assertTrue(run.wait(PATIENCE))
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])
        self.assertEqual(["s1", "s2"], self.world.db.images.get(image_id).stores)

    def copied(self, image_id: str) -> bool:
        try:
            self.runner.run(copy_image(image_id, to=["s2"]))
        except errors.ImageBusy:
            return False
        return True

    def test_dead_and_overtaken(self) -> None:
        """C19, C25: a run that died and whose image another one had is not gone on with; its own leftovers go."""
        image_id = self.world.image(DATA)
        child, _ = self.standing(image_id)
        child.kill()
        child.join(PATIENCE)
        eventually(lambda: self.copied_to(image_id, "s3"), "the lock's lease is over")
        self.assertTrue(Path(str(self.services.stores.get("s2").url_of(image_id)).removeprefix("file://")).exists())
        (run,) = self.runner.resume()
        self.assertTrue(run.wait(PATIENCE))
        self.assertIsInstance(run.error, errors.LockLost)
        self.assertEqual(["s1", "s3"], self.world.db.images.get(image_id).stores)
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])

    def copied_to(self, image_id: str, store: str) -> bool:
        try:
            self.runner.run(copy_image(image_id, to=[store]))
        except errors.ImageBusy:
            return False
        return True


class ObjectsTest(FlowTestCase, base.TestCase):
    """A store of objects: parts of an upload that was killed, and keys that must not be kept."""

    def configure(self) -> dict[str, Any]:
        self.s3 = S3()
        self.s3.setUp()
        self.addCleanup(self.s3.cleanUp)
        parts = {"s3_store_large_object_size": 5, "s3_store_large_object_chunk_size": 5, "s3_store_thread_pools": 2}
        return {
            "enabled_backends": "s1:file,bucket:s3",
            "bucket": self.s3.options(**parts),
            "glance_flows": {"state_path": self.root / "state"},
        }

    def killed(self, data: bytes) -> str:
        """Kill a copy in the middle of its parts."""
        self.services.persistence.ready()
        image_id = self.world.image(data)
        work = Attempt(str(self.root / "glance-flows.conf"), copy_image(image_id, to=["bucket"]).to_json(), None)
        points = attempt(work) or []
        self.runner.run(delete_image(image_id, delayed=False))
        image_id = self.world.image(data)
        at = points.index("in the bytes of bucket")
        self.assertIsNone(attempt(Attempt(work.conf, copy_image(image_id, to=["bucket"]).to_json(), at)))
        self.assertEqual([image_id], self.s3.uploads())
        expire_leases(self.services)
        return image_id

    def test_resumed(self) -> None:
        """C19: the parts of the killed upload go, and the image arrives."""
        data = os.urandom(1024) * 1024 * 12
        image_id = self.killed(data)
        self.runner.resume()[0].result(120)
        self.assertEqual([], self.s3.uploads())
        self.assertEqual(data, self.s3.body(image_id))

    def test_undone(self) -> None:
        """C12: the parts go when the run is undone."""
        image_id = self.killed(os.urandom(1024) * 1024 * 12)
        (record,) = self.services.persistence.records.page(open_only=True)
        run = self.runner.cancel(record.id)
        assert run is not None
        self.assertTrue(run.wait(120))
        self.assertEqual(([], []), (self.s3.uploads(), self.s3.names()))
        self.assertEqual(["s1"], self.world.db.images.get(image_id).stores)
        self.assertEqual([], run.leftovers.items)

    def test_no_key_is_kept(self) -> None:
        """F2: neither the key of the store nor its location's URL is in the flows' state."""
        image_id = self.world.image(DATA)
        self.runner.run(copy_image(image_id, to=["bucket"]))
        self.assertEqual([image_id], self.s3.names())
        state = Path(self.services.conf.glance_flows.state_path)
        stored = b"".join(path.read_bytes() for path in state.iterdir())
        self.assertIn(image_id.encode(), stored)
        for secret in (SECRET.encode(), b"secret%2F", b"access:"):
            self.assertNotIn(secret, stored)
