"""The connection is lost when the reply to a COMMIT is due: nothing is written twice, and nothing told wrongly."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import Database
from glance_flows.flows import copy_image, delete_image
from glance_flows.transfer import stage_image
from tests.contract.database import KEY, claim, run_of
from tests.contract.wired import Wired

DATA = b"some bytes of an image " * 9000
_URL = "file:///somewhere/else"


class LostCommits(Wired):
    """On a server: nothing lies between SQLite and its file."""

    def losing(self, statement: str, work: Callable[[], Any]) -> Any:
        """Return the result of a call whose transaction with a statement is committed, but never confirmed."""
        self.wire.lose_commit_of(statement)
        result = work()
        self.assertTrue(self.wire.lost, "no such transaction was committed")
        return result

    def held(self, *statuses: str, **values: Any) -> str:
        """Return an image that the run :func:`run_of` holds."""
        image_id = self.world.image(b"x", **values)
        self.db.claims.take(claim(image_id, None, *statuses))
        return image_id

    def test_a_location(self) -> None:
        """C17: a location is recorded once, and the id is that of its row; encrypted or not (S9)."""
        self.services.conf.set_override("metadata_encryption_key", KEY)
        encrypting = Database.from_conf(self.services.conf)
        self.addCleanup(encrypting.close)
        for db in (self.db, encrypting):
            image_id = self.held()
            run_id = run_of(image_id)
            record = lambda db=db, image=image_id, run=run_id: db.locations.record(run, image, _URL, {"store": "m1"})  # noqa: E731
            recorded = self.losing("INSERT INTO image_locations", record)
            rows = [row for row in self.rows("image_locations", image_id=image_id) if "m1" in str(row["meta_data"])]
            self.assertEqual([recorded], [row["id"] for row in rows])

    def test_another_location(self) -> None:
        """C17: what is in another store, or is no longer active, is not the location of before."""
        image_id = self.held()
        record = lambda store: self.db.locations.record(run_of(image_id), image_id, _URL, {"store": store})  # noqa: E731
        first, second = record("m1"), record("m2")
        self.db.locations.mark_deleted(first)
        self.assertEqual(3, len({first, second, record("m1")}))

    def test_taking_a_location_back(self) -> None:
        """C12: the URL is told, since its data is still to go."""
        image_id = self.held()
        recorded = self.db.locations.record(run_of(image_id), image_id, _URL, {"store": "m1"})
        take_back = lambda: self.db.locations.take_back(image_id, recorded)  # noqa: E731
        self.assertEqual(_URL, self.losing("DELETE FROM image_locations", take_back))
        self.assertIsNone(take_back())

    def test_the_lock(self) -> None:
        """C25: a run takes and drops the lock, and knows it."""
        image_id = self.world.image(b"x")
        mine = claim(image_id)
        self.assertEqual(states.ACTIVE, self.losing("INSERT INTO tasks", lambda: self.db.claims.take(mine)))
        self.assertEqual(1, len(self.db.tasks_of(image_id)))
        release = lambda: self.db.claims.release(mine, states.TASK_SUCCESS, "")  # noqa: E731
        self.assertTrue(self.losing("DELETE FROM image_properties", release))
        self.assertIsNone(self.prop(image_id, states.LOCK))

    def test_an_image_that_another_had(self) -> None:
        """F3: a run that is taken up again knows that somebody else had its image in between."""
        image_id = self.held()
        self.change("image_properties", {"image_id": image_id, "name": states.LOCK}, value="another")
        self.age_lock(image_id, 100)
        self.change("tasks", {"image_id": image_id}, updated_at=timeutils.utcnow() - timedelta(seconds=100))
        again = lambda: self.db.claims.take_again(run_of(image_id), image_id)  # noqa: E731
        self.assertFalse(self.losing("image_properties", again))
        self.assertEqual(run_of(image_id), self.prop(image_id, states.LOCK))

    def test_an_image(self) -> None:
        """P1: an image is made once, and its id is not said to be taken."""
        values = {"id": self.getUniqueString()[-36:], "name": "n", "owner": "o"}
        create = lambda: self.db.images.create(values, {"k": "v"}, ("t",))  # noqa: E731
        self.losing("INSERT INTO images", create)
        self.assertEqual({"k": "v"}, dict(self.db.images.get(values["id"]).properties))
        self.assertRaises(errors.BadRequest, create)

    def test_staging(self) -> None:
        """C2: who staged an image's data is not told that somebody else did."""
        image_id = self.world.image()
        self.losing("UPDATE images", lambda: stage_image(self.services, image_id, [DATA]))
        self.assertEqual(states.UPLOADING, self.db.images.get(image_id).status)
        self.assertEqual([image_id], self.staged_files())

    def test_a_deletion(self) -> None:
        """S1, S2: who deleted an image is not told that it was gone, and can take it back."""
        image_id = self.world.image(b"x", properties={"k": "v"})
        before = self.world.picture()
        found = self.losing("UPDATE images", lambda: self.db.deletions.begin(image_id))
        self.assertEqual((states.ACTIVE, 1), (found.status, len(found.locations)))
        back = lambda: self.db.deletions.take_back(image_id, found.status, found.at, found.locations)  # noqa: E731
        self.assertTrue(self.losing("UPDATE images", back))
        self.assertEqual(before, self.world.picture())
        self.assertRaises(errors.Gone, lambda: [self.db.deletions.begin(image_id), self.db.deletions.begin(image_id)])

    def test_deleting_and_restoring(self) -> None:
        """S2, R1, R5, S4: the flows tell what they did."""
        image_id = self.world.image(b"x", properties={"k": "v"})
        self.runner.run(delete_image(image_id, delayed=True))
        self.db.restorations.take("r", image_id)
        (place,) = self.db.locations.of(image_id)
        revive = lambda: self.db.restorations.revive("r", image_id, [place.id], [])  # noqa: E731
        self.assertEqual(1, self.losing("UPDATE images", revive).properties)
        self.db.deletions.begin(image_id)
        self.assertEqual(
            [image_id], self.losing("INTO image_properties", lambda: self.db.pending.claim("s", [image_id]))
        )
        finish = lambda: self.db.pending.finish("s", [image_id], [place.id])  # noqa: E731
        self.assertEqual(1, self.losing("UPDATE images", finish))

    def test_the_state_of_a_run(self) -> None:
        """F3: the tasks of a run are written down once, and the run goes on."""
        self.services.persistence.ready()
        image_id = self.world.image(DATA)
        self.losing("INSERT INTO atomdetails", lambda: self.runner.run(copy_image(image_id, to=["m1", "s2"])))
        self.assertEqual(["s1", "s2", "m1"], self.stores_with(image_id))

    def test_a_location_that_nobody_knows_of(self) -> None:
        """C13, C19: where the database stays away after the COMMIT, a row goes before its data."""
        image_id = self.world.image(DATA)
        record = self.db.locations.record

        def unsure(*args: Any, **more: Any) -> int:
            location = record(*args, **more)
            if args[-1]["store"] == "m1":
                raise errors.DatabaseError("the connection was lost.")
            return int(location)

        with mock.patch.object(self.db.locations, "record", unsure):
            spec = copy_image(image_id, to=["m1", "s2"], allow_failure=True)
            self.runner.run(spec)
        self.assertEqual(
            (["s1", "s2"], ["s1", "s2"]), (self.stores_with(image_id), self.db.images.get(image_id).stores)
        )
