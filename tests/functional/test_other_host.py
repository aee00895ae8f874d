"""A run that goes on where the staging area of its first host is out of reach."""

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.audit import tidy_staging
from glance_flows.flows import copy_image, import_image
from glance_flows.persistence.records import SUCCESS, SUSPENDED
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.stores import StagingArea
from glance_flows.testing import make_conf
from tests.contract.web import WebSite
from tests.contract.worlds import PATIENCE, FlowCase

DATA = b"some bytes of an image " * 9000


class OtherHostTest(FlowCase):
    """F5: two hosts with the same databases and stores, each with a staging area of its own."""

    def configure(self) -> dict[str, Any]:
        self.site = self.useFixture(WebSite())
        own = {"state_path": self.root / "state", "host": "host-a"}
        lanes = {"max_parallel_stores": 1}
        return {"glance_flows": own, "image_import_opts": lanes, "import_filtering_opts": self.site.allow()}

    @property
    def hidden(self) -> Path:
        return self.root / "staging of host-a"

    def other_host(self, name: str = "b") -> Runner:
        """A runner on another host."""
        folder = self.root / name
        folder.mkdir()
        conf = make_conf(folder, connection=self.services.conf.database.connection, **self.configured())
        services = dataclasses.replace(self.services, conf=conf, staging=StagingArea(conf))
        runner = Runner(services)
        self.addCleanup(runner._pulse.close)
        return runner

    def configured(self) -> dict[str, Any]:
        own = {"state_path": self.root / "state", "host": "host-b"}
        return {"glance_flows": own, "image_import_opts": {"max_parallel_stores": 1}} | {
            "import_filtering_opts": self.site.allow()
        }

    def left_behind(self, spec: Any, held: str) -> Run:
        """Start a run on the first host, which goes down while the store ``held`` takes its bytes."""
        store = self.hold(held)
        run = self.runner.submit(spec)
        self.reached(store)
        self.assertEqual([run.id], self.runner.stop(0))
        self.assertEqual(SUSPENDED, self.services.persistence.records.get(run.id).state)
        store.hold.set()
        self.assertTrue(run.wait(PATIENCE))
        # The other host does not see it.
        self.services.staging.directory.rename(self.hidden)
        return run

    def downloaded(self, uri: str = "/image") -> tuple[str, Run]:
        self.site.pages[uri] = DATA
        image_id = self.world.image()
        spec = import_image(image_id, method="web-download", uri=self.site.url(uri), stores=["s1", "s2"])
        return image_id, self.left_behind(spec, "s2")

    def inode(self, image_id: str, store: str) -> int:
        return Path(str(self.store(store).url_of(image_id)).removeprefix("file://")).stat().st_ino

    def test_a_download_is_fetched_again(self) -> None:
        """C19: stores that were done are not written to again."""
        image_id, run = self.downloaded()
        first = self.inode(image_id, "s1")
        (again,) = self.other_host().resume(run.id)
        again.result(PATIENCE)
        self.assertEqual(first, self.inode(image_id, "s1"))
        self.assertEqual([DATA, DATA], [self.bytes_in(image_id, name) for name in ("s1", "s2")])
        self.assertEqual(states.ACTIVE, self.db.images.get(image_id).status)
        self.assertEqual(SUCCESS, self.services.persistence.records.get(run.id).state)
        # When the first host is back, what it had staged is of no use any more.
        self.hidden.rename(self.services.staging.directory)
        self.assertEqual(0, tidy_staging(self.services))
        later = timeutils.utcnow() + timedelta(seconds=self.services.conf.glance_flows.lease_seconds + 1)
        with mock.patch("glance_flows.audit.timeutils.utcnow", lambda: later):
            self.assertEqual(1, tidy_staging(self.services))
        self.assertEqual([], self.staged_files())

    def test_a_source_that_has_changed(self) -> None:
        """C21: one image, one content; it is undone on the other host, in every store."""
        image_id, run = self.downloaded()
        self.site.pages["/image"] = b"other " * 9000
        (again,) = self.other_host().resume(run.id)
        self.assertRaisesRegex(errors.SourceFailed, "other data", again.result, PATIENCE)
        self.assertEqual([], self.stores_with(image_id))
        self.assertEqual(states.QUEUED, self.db.images.get(image_id).status)
        self.assertIsNone(self.prop(image_id, states.LOCK))

    def test_a_source_that_has_changed_and_a_second_host_that_goes_away(self) -> None:
        """C21: what was staged at first is not forgotten when the next host is interrupted, too."""
        image_id, run = self.downloaded()
        self.site.pages["/image"] = b"other " * 9000
        second = self.other_host("b")
        take, reached, go = second.services.staging.take, threading.Event(), threading.Event()

        def stands(*args: Any, **words: Any) -> Any:
            reached.set()
            go.wait(PATIENCE)
            return take(*args, **words)

        with mock.patch.object(second.services.staging, "take", stands):
            (again,) = second.resume(run.id)
            self.assertTrue(reached.wait(PATIENCE))
            self.assertEqual([run.id], second.stop(0))
            go.set()
            self.assertTrue(again.wait(PATIENCE))
        (third,) = self.other_host("c").resume(run.id)
        self.assertRaisesRegex(errors.SourceFailed, "other data", third.result, PATIENCE)
        self.assertEqual([], self.stores_with(image_id))
        self.assertEqual(states.QUEUED, self.db.images.get(image_id).status)

    def test_a_copy_from_memory_is_read_again(self) -> None:
        """C11: from a store, whose copy is held against the image's hash."""
        image_id = self.world.image(DATA, "m1")
        run = self.left_behind(copy_image(image_id, to=["s1", "s2"]), "s2")
        (again,) = self.other_host().resume(run.id)
        again.result(PATIENCE)
        self.assertEqual([DATA, DATA], [self.bytes_in(image_id, name) for name in ("s1", "s2")])

    def test_what_a_user_staged_waits_for_its_host(self) -> None:
        """C20: nobody has it but that host; the run stays as it is, with the reason."""
        image_id = self.world.image()
        self.world.stage(image_id, DATA)
        run = self.left_behind(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
        self.assertRaisesRegex(errors.Conflict, "staging area of host-a", self.other_host().resume, run.id)
        self.assertEqual(SUSPENDED, self.services.persistence.records.get(run.id).state)

    def test_it_can_be_cancelled_from_there(self) -> None:
        """C27: undoing needs no bytes."""
        image_id = self.world.image()
        self.world.stage(image_id, DATA)
        run = self.left_behind(import_image(image_id, method="glance-direct", stores=["s1", "s2"]), "s2")
        undone = self.other_host().cancel(run.id)
        assert undone is not None
        self.assertRaises(errors.Cancelled, undone.result, PATIENCE)
        self.assertEqual([], self.stores_with(image_id))
        self.assertEqual(states.UPLOADING, self.db.images.get(image_id).status)
        self.assertEqual([image_id], [path.name for path in self.hidden.iterdir()])

    def test_what_a_user_staged_is_waited_for_by_who_has_not_begun(self) -> None:
        """C20: a run that has not begun is not ended by a host that lacks its data, only by one that cancels it."""
        image_id = self.world.image()
        self.world.stage(image_id, DATA)
        run = self.runner.defer(import_image(image_id, method="glance-direct", stores=["s1"]))
        other = self.other_host()
        self.assertRaisesRegex(errors.Conflict, "not on this host", other.resume, run.id)
        self.assertEqual(SUSPENDED, self.services.persistence.records.get(run.id).state)
        undone = other.cancel(run.id)
        assert undone is not None
        self.assertRaises(errors.Cancelled, undone.result, PATIENCE)
        self.assertEqual(states.UPLOADING, self.db.images.get(image_id).status)

    def test_a_run_that_has_not_begun_is_cancelled_where_its_store_is_not(self) -> None:
        """C27: there is nothing to undo."""
        image_id = self.world.image(DATA)
        run = self.runner.defer(copy_image(image_id, to=["s2"]))
        other = self.other_host()
        lacking = {name: store for name, store in self.services.stores._stores.items() if name != "s2"}
        with mock.patch.object(self.services.stores, "_stores", lacking):
            undone = other.cancel(run.id)
            assert undone is not None
            self.assertRaises(errors.Cancelled, undone.result, PATIENCE)
