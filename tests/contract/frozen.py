"""A process that stands still within a transaction keeps nobody waiting for longer than a lease."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from glance_flows import opts, states
from glance_flows.flows import copy_image
from glance_flows.services import Services
from tests.contract.database import claim, run_of
from tests.contract.worlds import PATIENCE, FlowCase, eventually
from tests.services.servers import database

LEASE = 3
#: Far less than a server waits for the lock of a row before it gives up (50 s) and is asked again.
SOON = 25.0
_CHILDREN = multiprocessing.get_context("forkserver")


def _freeze(engine: sa.Engine, statement: str, tell: Any) -> None:
    """Stand still after the first statement that begins so, in its transaction."""

    stood: list[str] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def executed(connection: Any, cursor: Any, text: str, *rest: Any) -> None:
        if text.startswith(statement) and not stood:
            stood.append(text)
            tell.send_bytes(b"here")
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _record(conf: str, image_id: str, tell: Any) -> None:
    """What the first child does: it records a location."""
    services = Services.from_conf(opts.load([Path(conf)]))
    _freeze(services.db.engine.engine, "INSERT INTO image_locations", tell)
    try:
        services.db.locations.record(run_of(image_id), image_id, "file:///frozen", {"store": "s2"})
    except Exception as failure:
        tell.send_bytes(type(failure).__name__.encode())
    else:
        tell.send_bytes(b"recorded")


def _ask(conf: str, run_id: str, tell: Any) -> None:
    """What the second child does: it changes the row of a run."""
    services = Services.from_conf(opts.load([Path(conf)]))
    _freeze(services.persistence.records.engine, "UPDATE runs", tell)
    try:
        services.persistence.records.ask_to_cancel(run_id, "frozen")
    except Exception as failure:
        tell.send_bytes(type(failure).__name__.encode())
    else:
        tell.send_bytes(b"asked")


class FrozenCase(FlowCase):
    """On a server: SQLite cannot tell who stands still."""

    memory = ()
    server: str
    #: Of the flows' state.
    state: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.state = cls.enterClassContext(database(cls.server))

    def setUp(self) -> None:
        super().setUp()
        self.services.persistence.sync()

    def configure(self) -> dict[str, Any]:
        own = {"state_path": self.root / "state", "lease_seconds": LEASE, "persistence_connection": self.state}
        return {"connection": self.connection, "glance_flows": own}

    def frozen(self, work: Any, subject: str) -> tuple[Any, Any]:
        """Start a child and return it, and what it tells, when it stands still."""
        here, there = _CHILDREN.Pipe(duplex=False)
        conf = str(self.root / "glance-flows.conf")
        child = _CHILDREN.Process(target=work, args=(conf, subject, there), daemon=True)
        child.start()
        self.addCleanup(child.kill)
        self.assertTrue(here.poll(PATIENCE))
        self.assertEqual(b"here", here.recv_bytes())
        self.assertIsNotNone(child.pid)
        eventually(lambda: _state(child.pid) == "T", "the child stands still")
        return child, here

    def soon(self, work: Any) -> Any:
        """Return the result of a call that must not wait for the frozen process to wake up."""
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
        thread.start()
        thread.join(SOON)
        self.assertFalse(thread.is_alive(), "it waits for a process that stands still")
        return results[0]

    def woken(self, child: Any, here: Any) -> str:
        """Let a child go on and return how it ended."""
        os.kill(child.pid, signal.SIGCONT)
        self.assertTrue(here.poll(PATIENCE))
        ended: str = here.recv_bytes().decode()
        child.join(PATIENCE)
        return ended

    def test_glances_database(self) -> None:
        """C25: another run takes the image when the lease is over; the first finds so, and has written nothing."""
        image_id = self.world.image(b"x")
        self.db.claims.take(claim(image_id))
        child, here = self.frozen(_record, image_id)
        try:
            # It may look at once; the lock of the row is what it waits for, not for the run to be dead.
            taken = self.soon(lambda: self.take_over(image_id))
        finally:
            ended = self.woken(child, here)
        self.assertEqual((states.ACTIVE, "LockLost"), (taken, ended))
        self.assertEqual(["s1"], self.db.images.get(image_id).stores)
        self.assertEqual("another", self.prop(image_id, states.LOCK))

    def take_over(self, image_id: str) -> str:
        self.age_lock(image_id, LEASE + 1)
        return self.db.claims.take(claim(image_id, "another"))

    def test_the_state_of_flows(self) -> None:
        """C25, F4: the row of a run is free when the lease is over; what the first wrote is not there."""
        self.services.persistence.ready()
        run = self.runner.defer(copy_image(self.world.image(b"x"), to=["s2"]))
        records = self.services.persistence.records
        child, here = self.frozen(_ask, run.id)
        try:
            asked = self.soon(lambda: records.ask_to_cancel(run.id, "awake"))
        finally:
            ended = self.woken(child, here)
        self.assertEqual((True, "DatabaseError"), (asked, ended))
        self.assertEqual("awake", records.get(run.id).cancel_reason)


def _state(pid: int) -> str:
    """The state of a process, as the kernel tells it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
