"""Scrubbers as processes: killed, stopped, many at once, cut off; whatever database, concrete classes give it one."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models
from glance_flows.flows import restore_image
from glance_flows.runner import Runner
from glance_flows.scrubber import Scrubber
from glance_flows.testing import make_conf
from tests.contract.scrubs import DATA, Pendings
from tests.contract.worlds import eventually

#: Longer than a pass of any test takes on a machine that does much else.
SECONDS = 120
IMAGES = int(os.environ.get("GLANCE_FLOWS_TEST_IMAGES", "1000"))
ROUNDS = int(os.environ.get("GLANCE_FLOWS_TEST_ROUNDS", "2"))


class Child:
    """A process with its output in files, which no pipe can hold up."""

    #: Whether it leads a session, and so a group of processes, of its own.
    alone = False

    def __init__(self, command: list[str], folder: Path, **env: str) -> None:
        self._out, self._err = (folder / f"{uuid.uuid4()}.{kind}" for kind in ("out", "err"))
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            environment = {**os.environ, **env}
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, env=environment, start_new_session=self.alone
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object that was printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def end(self) -> int:
        """Wait for the end and return the status."""
        return self.process.wait(SECONDS)

    def says(self, text: str) -> None:
        """Wait until something is logged."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: text in self.err or self.process.poll() is not None, f"it says {text!r}")
        if text not in self.err:
            raise AssertionError(f"it ended, or went on for long, without saying {text!r}:\n{self.err}")

    def kill(self) -> None:
        """End it the hard way, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)


class Proxy:
    """Stands between a scrubber and its database, and can be shut."""

    def __init__(self, host: str, port: int, here: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._open = True
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server((here, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Cut every connection, and each new one at once."""
        self._open = False
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def open(self) -> None:
        """Let connections through again."""
        self._open = True

    def close(self) -> None:
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._pairs += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Processes(Pendings):
    """The base of the suites: real scrubbers on file stores, with a lease of 3 seconds."""

    memory = ()

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"lease_seconds": 3, "state_path": self.root / "state"}}

    def conf_file(self, **overrides: Any) -> Path:
        """Write another configuration of the same world and return its path."""
        path = self.root / str(uuid.uuid4())
        path.mkdir()
        options = {**self.configure(), **overrides}
        options.setdefault("connection", None)
        options["connection"] = options["connection"] or f"sqlite:///{self.root}/glance.sqlite"
        make_conf(path, **options)
        text = (path / "glance-flows.conf").read_text().replace(str(path), str(self.root))
        (path / "glance-flows.conf").write_text(text)
        return path / "glance-flows.conf"

    def start(self, command: list[str], env: dict[str, str] | None = None) -> Child:
        child = Child(command, self.root, **(env or {}))
        self.addCleanup(child.kill)
        return child

    def scrubber(self, *arguments: str, conf: Path | None = None, **env: str) -> Child:
        """Start ``glance-scrubber``."""
        file = str(conf or self.root / "glance-flows.conf")
        module = "glance_flows.cli.scrubber"
        return self.start([sys.executable, "-m", module, "--config-file", file, *arguments], env)

    def flows(self, *arguments: str) -> Child:
        """Start ``glance-flows``."""
        file = str(self.root / "glance-flows.conf")
        return self.start([sys.executable, "-m", "glance_flows.cli.main", "--config-file", file, *arguments])

    def gated_scrubber(self, at: int, *arguments: str, conf: Path | None = None) -> tuple[Child, Path]:
        """Start a scrubber that stands still in its deletion number ``at``; return it, and the file that lets it go."""
        marks = [self.root / f"{uuid.uuid4()}.{name}" for name in ("reached", "go")]
        module, file = "tests.contract.gated_scrubber", str(conf or self.root / "glance-flows.conf")
        command = [sys.executable, "-m", module, str(at), *map(str, marks), "--config-file", file, *arguments]
        child = self.start(command)
        eventually(lambda: marks[0].exists() or child.process.poll() is not None, "the deletion was reached")
        self.assertIsNone(child.process.poll(), child.err)
        return child, marks[1]

    def many(self, count: int, *stores: str, files: bool = True) -> list[str]:
        """Make images that were deleted long ago, all at once."""
        ids = sorted(str(uuid.uuid4()) for _ in range(count))
        then = timeutils.utcnow().replace(microsecond=0) - timedelta(days=1)
        gone = {"deleted": True, "deleted_at": then, "status": states.PENDING_DELETE}
        images = [
            {"id": each, "size": len(DATA), "owner": "owner", "min_disk": 0, "min_ram": 0, **gone} for each in ids
        ]
        places, props = [], []
        for image_id in ids:
            props.append({"image_id": image_id, "name": "k", "value": "v", "deleted": True, "deleted_at": then})
            for name in stores or ("s1",):
                url = self.store(name).url_of(image_id)
                places.append({"image_id": image_id, "value": url, "meta_data": {"store": name}, **gone})
                if files:
                    Path(url.removeprefix("file://")).write_bytes(DATA)

        def insert(connection: sa.Connection) -> None:
            for table, rows in (
                (models.images, images),
                (models.image_locations, places),
                (models.image_properties, props),
            ):
                for start in range(0, len(rows), 5000):
                    connection.execute(sa.insert(table), rows[start : start + 5000])

        self.db.engine.write(insert)
        return ids

    def files(self) -> list[str]:
        """Return the names of the files in all stores."""
        return [path.name for path in self.root.glob("s[123]/*")]

    def count(self, **equal: Any) -> int:
        """Return how many images have these values."""
        query = sa.select(sa.func.count()).select_from(models.images).filter_by(**equal)
        return int(self.db.engine.read(lambda connection: connection.execute(query).scalar_one()))

    def assertAllScrubbed(self, count: int) -> None:
        """Every image is deleted, nothing is left anywhere (S4, S14)."""
        self.assertEqual((count, 0), (self.count(status="deleted"), self.count(status="pending_delete")))
        self.assertEqual([], self.files())
        self.assertEqual([], self.rows("image_locations", status="pending_delete"))
        self.assertEqual([], self.locks())

    def assertUnlocked(self, *children: Child) -> None:
        """No database was locked, nothing was unforeseen."""
        for child in children:
            self.assertNotIn("locked", child.err)
            self.assertNotIn("Traceback", child.err)


class ScrubberEnds:
    """Killed and stopped, alone and many; mixed with :class:`Processes`."""

    def test_killed(self: Any) -> None:
        """S14: kill -9 in the middle; the next pass finishes the rest within the lease, and nothing is left."""
        self.many(IMAGES, "s1", "s2")
        child, _ = self.gated_scrubber(IMAGES)
        self.assertEqual(IMAGES + 1, len(self.files()))
        child.process.kill()
        child.end()
        noted = self.count(status="deleted")
        self.assertTrue(0 < noted < IMAGES // 2 + 1, noted)
        # One more than two for each of them where the image in hand was half done when the others were noted.
        emptied = len(self.rows("image_locations", status="deleted"))
        second = self.scrubber("-f", "json")
        self.assertEqual(0, second.end(), second.err)
        report = second.report
        self.assertEqual((IMAGES - noted, 0, 0), (report["images"], report["failed"], report["held"]))
        # What was removed and not yet noted is found missing; no more than the killed one had in hand.
        self.assertEqual(IMAGES - 1 - emptied, report["missing"])
        self.assertAllScrubbed(IMAGES)

    def test_killed_again_and_again(self: Any) -> None:
        """S14: kill -9 early, five times; then everything goes."""
        self.many(60, "s1", "s2")
        for _ in range(5):
            child, _ = self.gated_scrubber(7)
            child.process.kill()
            child.end()
        last = self.scrubber("-f", "json")
        self.assertEqual(0, last.end(), last.err)
        self.assertAllScrubbed(60)

    def test_four_at_once(self: Any) -> None:
        """S14: four scrubbers split the work, and no location is deleted twice."""
        self.many(IMAGES // 2, "s1", "s2")
        children = [self.scrubber("-f", "json") for _ in range(4)]
        self.assertEqual([0] * 4, [child.end() for child in children], [child.err for child in children])
        reports = [child.report for child in children]
        self.assertEqual(IMAGES // 2, sum(report["images"] for report in reports))
        self.assertEqual(2 * (IMAGES // 2), sum(report["locations"] for report in reports))
        self.assertEqual([0] * 4, [report["missing"] for report in reports])
        self.assertEqual([0] * 4, [report["failed"] for report in reports])
        self.assertEqual(len(DATA) * 2 * (IMAGES // 2), sum(report["bytes_freed"] for report in reports))
        self.assertUnlocked(*children)
        self.assertAllScrubbed(IMAGES // 2)

    def test_stopped(self: Any) -> None:
        """S6: on a signal the location in hand is finished, no new one is begun, exit 0; the rest is the next's."""
        for number, signum in enumerate((signal.SIGTERM, signal.SIGINT)):
            self.many(30, "s1")
            child, go = self.gated_scrubber(8, "-f", "json")
            child.process.send_signal(signum)
            child.says("stopping: what is in hand is finished")
            go.touch()
            self.assertEqual(0, child.end(), child.err)
            report = child.report
            self.assertEqual((8, 8, True, 0), tuple(report[n] for n in ("images", "locations", "stopped", "failed")))
            self.assertEqual(22, len(self.files()))
            self.assertEqual([], self.locks())
            self.assertEqual(0, self.scrubber().end())
            self.assertAllScrubbed(30 * (number + 1))

    def test_restores_and_a_scrubber(self: Any) -> None:
        """R8, R9: they race for the same images; each ends wholly active or wholly deleted."""
        for _ in range(ROUNDS):
            ids = self.many(40, "s1", "s2")
            scrubbing, go = self.gated_scrubber(5, "-f", "json")
            restoring = [self.flows("restore", *some, "-f", "json") for some in (ids[::-1], ids[1::3])]
            eventually(lambda: self.count(status="active") > 2, "some are restored while the scrubber has others")
            go.touch()
            self.assertEqual(0, scrubbing.end(), scrubbing.err)
            for child in restoring:
                self.assertIn(child.end(), (0, 1), child.err)
            self.assertUnlocked(scrubbing, *restoring)
            self.assertEqual(0, scrubbing.report["missing"])
            back = {row["id"] for child in restoring for row in json.loads(child.out) if row["status"] == "active"}
            self.assertTrue(2 < len(back) < 40, len(back))
            self._assert_settled(ids, back)

    def test_restores_and_a_scrubber_in_step(self: Any) -> None:
        """R8: likewise where both go through the images at about the same speed, each in another order."""
        services = self.make_services()
        with Runner(services) as other:
            for number in range(2 * ROUNDS):
                ids = self.many(40, "s1", "s2")
                scrubber, reports = Scrubber(other, page=1), []
                thread = threading.Thread(target=lambda s=scrubber, r=reports: r.append(s.run_pass()))
                thread.start()
                back = set()
                for image_id in random.Random(number).sample(ids, len(ids)):
                    with contextlib.suppress(errors.Conflict):
                        self.runner.run(restore_image(image_id))
                        back.add(image_id)
                thread.join(SECONDS)
                (report,) = reports
                self.assertEqual((40 - len(back), 0, 0), (report.images, report.missing, report.failed))
                self._assert_settled(ids, back)

    def _assert_settled(self: Any, ids: list[str], back: set[str]) -> None:
        self.assertEqual(self.count(status="active"), len(back))
        for image_id in ids:
            self._assert_wholly(image_id, restored=image_id in back)
        self.assertEqual([], self.locks())
        self._forget()

    def _assert_wholly(self: Any, image_id: str, *, restored: bool) -> None:
        (image,) = self.rows("images", id=image_id)
        status = states.ACTIVE if restored else states.DELETED
        self.assertEqual((status, not restored), (image["status"], image["deleted"]))
        places = {(row["status"], row["deleted"]) for row in self.rows("image_locations", image_id=image_id)}
        self.assertEqual({(status, not restored)}, places)
        self.assertEqual(["s1", "s2"] if restored else [], self.stores_with(image_id))
        (prop,) = self.rows("image_properties", image_id=image_id)
        self.assertEqual(not restored, prop["deleted"])

    def _forget(self: Any) -> None:
        for table in reversed(models.metadata.sorted_tables):
            self.db.engine.write(lambda connection, table=table: connection.execute(sa.delete(table)))

    def test_a_daemon_beside_a_store_that_fails(self: Any) -> None:
        """S6, S7: a daemon survives it and goes on; what failed goes when the store is mended."""
        conf = self.conf_file(wakeup_time=0)
        bad, good = self.many(2, "s1")
        path = self.root / "s1" / bad
        path.unlink()
        (path / "in the way").mkdir(parents=True)
        child = self.scrubber("--daemon", conf=conf)
        eventually(lambda: self.status(good) == states.DELETED, "the other image goes")
        child.says(f"The data of image {bad} in the store s1 is left")
        later = self.many(1, "s2")
        eventually(lambda: self.status(later[0]) == states.DELETED, "it goes on")
        self.assertEqual(states.PENDING_DELETE, self.status(bad))
        (path / "in the way").rmdir()
        path.rmdir()
        path.write_bytes(DATA)
        eventually(lambda: self.status(bad) == states.DELETED, "the image goes when its store is mended")
        child.process.terminate()
        self.assertEqual(0, child.end(), child.err)
        self.assertEqual([], self.locks())


class ScrubberCutOff:
    """The database goes away and comes back; mixed with :class:`Processes` on a server."""

    @contextlib.contextmanager
    def proxied(self: Any, **overrides: Any) -> Iterator[tuple[Proxy, Path]]:
        """Give a configuration whose database can be cut off."""
        url = sa.make_url(self.connection)
        proxy = Proxy(url.host, url.port or {"mysql": 3306, "postgresql": 5432}[url.get_backend_name()])
        through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        try:
            yield proxy, self.conf_file(connection=through, **overrides)
        finally:
            proxy.close()

    def test_a_daemon(self: Any) -> None:
        """S6, S11: it logs CRITICAL, goes on, and scrubs again when the database is back."""
        (first,) = self.many(1)
        with self.proxied(wakeup_time=0) as (proxy, conf):
            child = self.scrubber("-D", conf=conf)
            eventually(lambda: self.status(first) == states.DELETED, "the first image goes")
            proxy.shut()
            child.says("CRITICAL")
            (second,) = self.many(1)
            self.assertIsNone(child.process.poll())
            proxy.open()
            eventually(lambda: self.status(second) == states.DELETED, "the second image goes")
            child.process.terminate()
            self.assertEqual(0, child.end(), child.err)

    def test_one_pass(self: Any) -> None:
        """S11: a pass that cannot read its database exits 1 and says so."""
        self.many(1)
        with self.proxied() as (proxy, conf):
            proxy.shut()
            child = self.scrubber(conf=conf)
            self.assertEqual(1, child.end())
        self.assertRegex(child.err, "ERROR: .*database")
        self.assertNotIn("Traceback", child.err)
        self.assertEqual(1, len(self.files()))

    def test_in_the_middle_of_a_pass(self: Any) -> None:
        """S11, S14: it exits 1; the next pass notes what is gone and finishes the rest."""
        self.many(50)
        with self.proxied() as (proxy, conf):
            child, go = self.gated_scrubber(30, conf=conf)
            proxy.shut()
            go.touch()
            self.assertEqual(1, child.end())
            self.assertRegex(child.err, "ERROR: .*database")
        second = self.scrubber("-f", "json")
        self.assertEqual(0, second.end(), second.err)
        self.assertAllScrubbed(50)
