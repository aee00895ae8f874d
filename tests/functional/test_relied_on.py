"""What is done on the strength of a lease that runs out meanwhile: asked for again, or not done."""

import threading
import time
from typing import Any
from unittest import mock

import sqlalchemy as sa

from glance_flows import errors
from glance_flows.db import models
from glance_flows.flows import copy_image
from glance_flows.lease import Lease, relying_on
from tests.contract.worlds import PATIENCE, FlowCase, eventually

DATA = b"some bytes of an image " * 9000


class CommitsTest(FlowCase):
    """C25: a transaction that took longer than a lease."""

    def setUp(self) -> None:
        super().setUp()
        self.held = True
        self.lease = Lease(60, self.renew, time.monotonic() - 100)
        self.calls = 0

    def renew(self) -> bool:
        # It writes to the same database, as the renewal of a run does.
        self.db.claims.renew({"run": None})
        return self.held

    def change(self, connection: sa.Connection) -> None:
        self.calls += 1
        connection.execute(sa.insert(models.image_tags).values(image_id=self.image_id, value=f"t{self.calls}"))

    def write(self) -> None:
        self.image_id = self.world.image(DATA)
        with relying_on(self.lease):
            self.db.engine.write(self.change)

    def tags(self) -> list[str]:
        return [str(row["value"]) for row in self.rows("image_tags", image_id=self.image_id)]

    def test_held_after_all(self) -> None:
        """The first attempt is rolled back, and made again once the lease is sure."""
        self.write()
        self.assertEqual((2, ["t2"]), (self.calls, self.tags()))

    def test_lost(self) -> None:
        """Nothing of it is committed."""
        self.held = False
        self.assertRaises(errors.LockLost, self.write)
        self.assertEqual((1, []), (self.calls, self.tags()))

    def test_young(self) -> None:
        """A young lease costs nothing."""
        self.lease.renewed(time.monotonic())
        self.write()
        self.assertEqual((1, ["t1"]), (self.calls, self.tags()))


class LateTest(FlowCase):
    """C25: a store that answers when nobody waits for it any more."""

    def configure(self) -> dict[str, Any]:
        options = super().configure()
        return {**options, "glance_flows": {**options["glance_flows"], "cancel_grace": 0}}

    def test_of_a_lost_run(self) -> None:
        """What is there by then may be the data of whoever took the run over: it stays."""
        image_id = self.world.image(DATA)
        driver, taken, answer = self.store("s2")._driver, threading.Event(), threading.Event()
        self.addCleanup(answer.set)
        add = driver.add

        def slow(*arguments: Any) -> Any:
            stored = add(*arguments)
            taken.set()
            answer.wait(PATIENCE)
            return stored

        with mock.patch.object(driver, "add", slow):
            run = self.runner.submit(copy_image(image_id, to=["s2"]))
            self.assertTrue(taken.wait(PATIENCE))
            assert run.token.lease is not None
            run.token.lease.lose("the run was taken over.")
            self.assertRaisesRegex(errors.LockLost, "taken over", run.result, PATIENCE)
            answer.set()
            eventually(lambda: "is left to whoever has the run now" in self.logged.output, "the store has answered")
        self.assertEqual(DATA, self.bytes_in(image_id, "s2"))
