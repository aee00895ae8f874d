"""What an audit finds, what it mends, and what it leaves alone."""

import os
import time
from datetime import timedelta
from pathlib import Path

from oslo_utils import timeutils

from glance_flows import states
from glance_flows.audit import Audit, Finding
from glance_flows.flows import copy_image, delete_image
from glance_flows.testing.kill import expire_leases
from tests.contract.worlds import FlowCase

DATA = b"some bytes"
_STRANGER = "00000000-0000-4000-8000-000000000000"


class AuditTest(FlowCase):
    memory = ()

    def found(self, kind: str) -> list[Finding]:
        return [each for each in Audit(self.services).findings() if each.kind == kind]

    def put(self, folder: str, name: str, *, age: int = 7200) -> Path:
        """Make a file behind the library's back that was last changed so many seconds ago."""
        path = self.root / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(DATA)
        then = time.time() - age
        os.utime(path, (then, then))
        return path

    def test_nothing_to_find(self) -> None:
        image_id = self.world.image(DATA)
        self.runner.run(copy_image(image_id, to=["s2"]))
        self.runner.run(delete_image(self.world.image(DATA), delayed=True))
        waiting = self.world.image()
        self.world.stage(waiting, DATA)
        self.put("staging", waiting)
        self.assertEqual([], list(Audit(self.services).findings()))

    def test_data_without_a_row(self) -> None:
        """Data of an image that is here is removed on request; that of a stranger, or of a moment ago, is not."""
        image_id = self.world.image(DATA)
        ours, strange = self.put("s2", image_id), self.put("s2", _STRANGER)
        self.put("s3", image_id, age=60)
        found = {each.image: each for each in self.found("data-without-row")}
        self.assertEqual({image_id, _STRANGER}, set(found))
        self.assertIsNone(found[_STRANGER].repair)
        repair = found[image_id].repair
        assert repair is not None
        self.assertTrue(ours.exists())
        self.assertTrue(repair())
        self.assertEqual([False, True], [ours.exists(), strange.exists()])
        self.assertNotIn(states.LOCK, self.db.images.get(image_id).properties)

    def test_data_that_was_recorded_meanwhile(self) -> None:
        """What was found is looked at again before it is removed."""
        image_id = self.world.image(DATA)
        self.put("s2", image_id)
        (finding,) = self.found("data-without-row")
        self.runner.run(copy_image(image_id, to=["s2"]))
        assert finding.repair is not None
        self.assertFalse(finding.repair())
        self.assertEqual(DATA, self.bytes_in(image_id, "s2"))

    def test_data_whose_location_reads_otherwise_today(self) -> None:
        """What a location refers to by another path, or by an encrypted URL, is never offered for removal."""
        image_id = self.world.image(DATA)
        path = self.put("s1", image_id)
        for url in (f"file:///moved{path}", f"filesystem://{path}", "c2VhbGVkIHdpdGggYSBrZXkgdGhhdCBpcyBnb25l"):
            with self.subTest(url):
                self.change("image_locations", {"image_id": image_id}, value=url)
                (finding,) = self.found("data-without-row")
                self.assertIsNone(finding.repair)
                self.assertIn("metadata_encryption_key", finding.advice)
        self.assertEqual([image_id], [each.image for each in self.found("unreadable-row")])

    def test_data_beside_a_location_that_cannot_be_read(self) -> None:
        """The unreadable URL of one image may refer to what has the name of another."""
        image_id, other = self.world.image(DATA), self.world.image(DATA)
        self.put("s2", image_id)
        self.change("image_locations", {"image_id": other}, value="c2VhbGVk")
        self.assertEqual([None], [each.repair for each in self.found("data-without-row")])

    def test_data_of_a_held_image(self) -> None:
        image_id = self.world.image(DATA)
        self.put("s2", image_id)
        self.lock_as_another(image_id)
        self.assertEqual([], self.found("data-without-row"))

    def test_a_row_without_data(self) -> None:
        """It is told and never mended: the store may not be mounted."""
        image_id = self.world.image(DATA)
        (self.root / "s1" / image_id).unlink()
        (finding,) = self.found("row-without-data")
        self.assertEqual((image_id, "s1", None), (finding.image, finding.store, finding.repair))

    def test_staged_leftovers(self) -> None:
        image_id = self.world.image(DATA)
        path = self.put("staging", image_id)
        (finding,) = self.found("staged")
        assert finding.repair is not None
        self.assertTrue(finding.repair())
        self.assertFalse(path.exists())

    def test_a_stale_lock_and_its_task(self) -> None:
        image_id = self.world.image(DATA)
        run_id = self.lock_as_another(image_id, age=7200)
        (lock,), (task,) = self.found("lock"), self.found("task")
        assert lock.repair is not None and task.repair is not None
        self.assertTrue(lock.repair())
        self.assertTrue(task.repair())
        self.assertEqual([], list(Audit(self.services).findings()))
        self.assertEqual("failure", self.rows("tasks", id=run_id)[0]["status"])

    def test_the_lock_of_a_glance_api(self) -> None:
        """A glance-api's is told, and left to it."""
        self.lock_as_another(self.world.image(DATA), age=7200, ours=False)
        self.assertEqual([None], [each.repair for each in self.found("lock")])
        self.assertEqual([None], [each.repair for each in self.found("task")])

    def test_runs(self) -> None:
        """What can be resumed is told with the command that does it."""
        run = self.runner.defer(copy_image(self.world.image(DATA), to=["s2"]))
        expire_leases(self.services)
        (finding,) = self.found("run")
        self.assertEqual(f"run resume {run.id}", finding.advice)

    def test_an_age(self) -> None:
        image_id = self.world.image(DATA)
        self.put("s2", image_id, age=300)
        self.assertEqual([], self.found("data-without-row"))
        found = list(Audit(self.services, timedelta(minutes=1)).findings())
        self.assertEqual(["data-without-row"], [each.kind for each in found])
        self.assertLess(found[0].since or timeutils.utcnow(), timeutils.utcnow())
