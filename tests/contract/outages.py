"""The databases go away in the middle of a copy, for longer than a lease, and come back."""

import time
from typing import Any

from glance_flows import errors, states
from glance_flows.flows import copy_image, delete_image
from glance_flows.run import Run
from glance_flows.testing.kill import unfinished
from tests.contract.wired import Wired
from tests.contract.worlds import PATIENCE, eventually

DATA = b"some bytes of an image " * 9000


class Outages(Wired):
    """C19, F3: the run ends as it may end, at once or when it is taken up again, and nothing is left behind."""

    lease_seconds = 3

    def away(self) -> None:
        """Cut the databases off until the leases of everybody are over."""
        over = time.monotonic() + self.lease_seconds + 0.5
        self.wire.cut()
        eventually(lambda: time.monotonic() > over, "the leases are over")
        self.wire.mend()

    def stands(self, **asked: Any) -> tuple[Run, Any, str]:
        """Return a copy to s3 and s2 that stands in the middle of s3, its store, and the image."""
        image_id = self.world.image(DATA)
        store = self.hold("s3")
        run = self.runner.submit(copy_image(image_id, to=["s3", "s2"], **asked))
        self.reached(store)
        eventually(lambda: self.db.images.get(image_id).stores == ["s1", "s2"], "s2 has it")
        return run, store, image_id

    def settled(self, run: Run, image_id: str) -> list[str]:
        """Take the run up until it is over, hold the world to be whole, and return the stores that have the image."""
        self.assertTrue(run.wait(PATIENCE))

        def over() -> bool:
            for again in self.runner.resume(told=lambda record, why: None):
                self.assertTrue(again.wait(PATIENCE))
            return not unfinished(self.services)

        eventually(over, "the run is over")
        self.assertEqual([], self.world.wrong())
        image = self.db.images.get(image_id)
        self.assertEqual(
            (states.ACTIVE, [], None), (image.status, self.staged_files(), self.prop(image_id, states.LOCK))
        )
        self.assertEqual(sorted(image.stores), sorted(self.stores_with(image_id)))
        return sorted(image.stores)

    def tearDown(self) -> None:
        # The database outlives the test, the files of its stores do not.
        for image in self.db.images.each():
            self.runner.run(delete_image(image.id, delayed=False))
        super().tearDown()

    def test_while_bytes_move(self) -> None:
        """C25: a run that nobody took over meanwhile renews its lease and goes on, or is undone; a retry works."""
        run, store, image_id = self.stands()
        self.away()
        store.hold.set()
        self.assertIn(self.settled(run, image_id), (["s1", "s2", "s3"], ["s1"]))
        missing = sorted({"s3", "s2"}.difference(self.db.images.get(image_id).stores))
        if missing:
            self.runner.run(copy_image(image_id, to=missing))

    def test_when_the_bytes_are_there(self) -> None:
        """C19: what a store took and cannot be recorded is not left there without a location."""
        run, store, image_id = self.stands()
        self.wire.cut()
        store.hold.set()
        self.assertTrue(run.wait(PATIENCE))
        self.assertIsInstance(run.error, errors.GlanceFlowsError)
        self.wire.mend()
        self.assertIn(self.settled(run, image_id), (["s1", "s2", "s3"], ["s1"]))

    def test_where_some_stores_may_fail(self) -> None:
        """C13: likewise, and what the other store has is kept or removed with its location."""
        run, store, image_id = self.stands(allow_failure=True)
        self.wire.cut()
        store.hold.set()
        self.assertTrue(run.wait(PATIENCE))
        self.wire.mend()
        self.assertIn(self.settled(run, image_id), (["s1", "s2", "s3"], ["s1", "s2"], ["s1"]))

    def test_while_it_is_undone(self) -> None:
        """F3: a run that was to be undone, and could not save that, is undone or goes on when it is taken up again."""
        run, store, image_id = self.stands()
        self.wire.cut()
        run.cancel("enough")
        store.hold.set()
        self.assertTrue(run.wait(PATIENCE))
        self.wire.mend()
        self.assertIn(self.settled(run, image_id), (["s1", "s2", "s3"], ["s1"]))
