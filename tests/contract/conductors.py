"""Conductors as processes, on hosts that are folders of their own: the means of the suites, whatever the database."""

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from glance_flows.persistence import ConductorRecord, Record
from glance_flows.persistence.records import OPEN, SUCCESS
from glance_flows.testing import make_conf
from glance_flows.testing.kill import unfinished
from tests.contract.redis_server import RedisServer
from tests.contract.scrubbers import Child
from tests.contract.worlds import FlowCase, eventually
from tests.functional.cli import program

LEASE = 4
#: What a takeover costs beyond the lease: a look at the list of runs, a look at the board, and the work itself.
LONGER = 6
#: Longer than anything here takes on a machine that does much else.
SECONDS = 90
DATA = b"some bytes of an image " * 20000


class ConductorProcess(Child):
    """``glance-flows conductor`` on one host: a manager and its workers, which die together."""

    alone = True

    def __init__(self, host: str, command: list[str], folder: Path, **env: str) -> None:
        super().__init__(command, folder, **env)
        self.host = host

    def kill(self) -> None:
        """End all of its processes the hard way."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)

    def stop(self) -> None:
        """Ask it to give its runs back and end."""
        self.process.terminate()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The payloads of a business event, as it logged them."""
        start = f"info: {name} "
        return [json.loads(line.removeprefix(start)) for line in self.err.splitlines() if line.startswith(start)]


class ConductorCase(FlowCase):
    """The base of the suites: three file stores, a Redis of the test's own, two databases, and any number of hosts."""

    memory = ()
    persistence: str | None = None

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))  # type: ignore[attr-defined]
        self.redis: RedisServer = self.enterContext(self.make_redis(folder))  # type: ignore[attr-defined]
        self.conductors: list[ConductorProcess] = []
        super().setUp()
        self.services.persistence.sync()
        self.addCleanup(self.kill_all)
        self.gates = self.root / "gates"
        self.gates.mkdir()

    def make_redis(self, folder: Path) -> RedisServer:
        return RedisServer(folder)

    def configure(self) -> dict[str, Any]:
        return {
            "connection": self.connection,
            "glance_flows": {
                "persistence_connection": self.persistence,
                "state_path": self.root / "state",
                "jobboard_url": self.redis.url,
                "jobboard_interval": 0.2,
                "lease_seconds": LEASE,
                "progress_interval": 0.2,
                "chunk_size": 65536,
                "cancel_grace": 2,
                "stop_grace": 3,
            },
        }

    def conf_of(self, host: str, *stores: str, own: dict[str, Any] | None = None, **overrides: Any) -> Path:
        """Write the configuration of a host and return its path.

        :param stores: those that the host has; by default all
        :param own: other options of ``[glance_flows]``
        """
        folder = self.root / "hosts" / host
        folder.mkdir(parents=True, exist_ok=True)
        options = self.configure()
        options["glance_flows"] |= {"host": host, "state_path": folder / "state", **(own or {})}
        make_conf(folder, *stores, **options | overrides)
        path = folder / "glance-flows.conf"
        shared = path.read_text()
        for name in ("staging", "s1", "s2", "s3"):
            shared = shared.replace(f" = {folder}/{name}\n", f" = {self.root}/{name}\n")
        path.write_text(shared)
        return path

    def conduct(self, host: str, conf: Path | None = None) -> ConductorProcess:
        """Start a conductor; :meth:`ready` waits for it."""
        file = str(conf or self.conf_of(host))
        return self._started(host, [*program(), "--config-file", file, "conductor"])

    def conduct_gated(self, host: str, conf: Path | None = None, within: tuple[str, ...] = ()) -> ConductorProcess:
        """Start a conductor on whose host the stores have gates: :meth:`shut`.

        :param within: words in front of the command
        """
        file = str(conf or self.conf_of(host))
        module = [*within, sys.executable, "-m", "tests.contract.gated_conductor", str(self.gates)]
        return self._started(host, [*module, "--config-file", file, "conductor"])

    def _started(self, host: str, command: list[str]) -> ConductorProcess:
        process = ConductorProcess(host, command, self.root)
        self.conductors.append(process)
        return process

    def kill_all(self) -> None:
        """End every conductor."""
        for process in self.conductors:
            process.kill()

    def ready(self, *processes: ConductorProcess) -> None:
        """Wait until conductors are on the list."""
        for process in processes:
            eventually(lambda p=process: self.shown(p.host) or p.process.poll() is not None, f"{process.host} works")
            self.assertIsNone(process.process.poll(), process.err)

    def shown(self, host: str) -> ConductorRecord | None:
        """Return the conductor of a host that is at work, as the list has it."""
        alive = self.services.persistence.conductors.alive(timedelta(seconds=LEASE))
        return next((each for each in alive if each.host == host), None)

    def shut(self, store: str) -> None:
        """Have uploads to a store stand still after their first piece."""
        (self.gates / f"{store}.shut").touch()

    def open(self, store: str) -> None:
        """Let them go on."""
        (self.gates / f"{store}.shut").unlink()

    def stands(self, store: str) -> None:
        """Wait until an upload stands before the gate of a store."""
        reached = self.gates / f"{store}.reached"
        eventually(reached.exists, f"an upload stands before {store}")
        reached.unlink()

    def record(self, run_id: str) -> Record:
        """Return a run as it is written down."""
        return self.services.persistence.records.get(run_id)

    def worker(self, run_id: str) -> tuple[ConductorProcess, int]:
        """Return the conductor that works on a run, and the id of the process that does."""
        host, pid, _ = self.record(run_id).holder.split(":")
        return next(each for each in reversed(self.conductors) if each.host == host), int(pid)

    def over(self, *run_ids: str, within: float = SECONDS) -> None:
        """Wait until runs are over, and make sure that they succeeded."""
        records = self.services.persistence.postings

        def ended() -> bool:
            return not any(record.state in OPEN for record in records.records(run_ids).values())

        try:
            eventually(ended, "the runs end", within)
        except AssertionError:
            raise AssertionError(self.told(run_ids)) from None
        failed = [record.error for record in records.records(run_ids).values() if record.state != SUCCESS]
        self.assertEqual([], failed, self.told(run_ids))

    def told(self, run_ids: Iterable[str]) -> str:
        """Return what is known of runs that did not end as they should, for whoever reads the failure."""
        records = self.services.persistence.postings.records(tuple(run_ids)).values()
        lines = [f"{each.id} {each.state} {each.holder} {each.error}" for each in records if each.state != SUCCESS]
        logs = [f"--- {each.host} {each.process.poll()}\n{each.err[-6000:]}" for each in self.conductors]
        return "\n".join(["the runs did not end as they should:", *lines[:20], *logs])

    def happened(self, name: str) -> list[dict[str, Any]]:
        """The payloads of a business event in the logs of all conductors, dead ones too."""
        return [payload for process in self.conductors for payload in process.events(name)]

    def mark(self, image_id: str, store: str) -> tuple[int, int]:
        """Return what tells whether the data of an image in a store was written again."""
        status = (self.root / store / image_id).stat()
        return status.st_ino, status.st_mtime_ns

    def task(self, run_id: str, name: str) -> str:
        """Return the state of a task of a run."""
        detail = self.services.persistence.find(run_id) or ()
        return next((str(atom.state) for atom in detail if atom.name == name), "")

    def assertWhole(self, *run_ids: str) -> None:
        """Nothing is half done or left anywhere; each run is on the list, and ended at most once with success."""
        self.assertEqual([], [*unfinished(self.services), *self.world.wrong()], self.told(run_ids))
        places = [(row["image_id"], row["value"]) for row in self.rows("image_locations", status="active")]
        self.assertEqual(len(places), len(set(places)), "a location was recorded twice")
        ends = [each["run"] for kind in ("import", "delete") for each in self.happened(f"image.{kind}.end")]
        self.assertEqual(len(ends), len(set(ends)), "a run ended twice")
        self.assertLessEqual(set(ends), {each.id for each in self.services.persistence.records.page(limit=100_000)})
        eventually(lambda: not self.services.board.names(), "the board is empty")
        for process in self.conductors:
            self.assertNotIn("Traceback", process.err)
            self.assertNotIn("could not be taken up", process.err)

    def listed(self) -> list[dict[str, Any]]:
        """What ``conductor list`` prints."""
        file = str(self.root / "glance-flows.conf")
        child = Child([*program(), "--config-file", file, "conductor", "list", "-f", "json"], self.root)
        self.addCleanup(child.kill)
        self.assertEqual(0, child.end(), child.err)
        found: list[dict[str, Any]] = json.loads(child.out)
        return found
