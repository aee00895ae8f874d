"""Runs from outside: listed, shown, drawn, resumed, cancelled, suspended; with real processes and signals."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from tests.functional import cli

_LEASE = 3


class RunTestCase(cli.CommandTestCase):
    """Commands whose runs stand still in a download until the server lets them go on, or fail."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.enterContext(cli.SlowServer())  # type: ignore[attr-defined]
        self.configure(port=self.server.port, own=f"lease_seconds = {_LEASE}\nstop_grace = 1")

    def words(self, image_id: str, *more: str) -> tuple[str, ...]:
        return ("import", image_id, "--method", "web-download", "--uri", self.server.url, *more)

    @contextlib.contextmanager
    def importing(self, image_id: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
        """An import in the middle of its bytes."""
        self.server.asked.clear()
        with self.started(*self.words(image_id), **more) as process:
            self.assertTrue(self.server.asked.wait(cli.SECONDS))
            yield process

    def killed(self) -> tuple[str, dict[str, Any]]:
        """An import whose process was killed, and its run once its lease is over."""
        image_id = self.create()
        with self.importing(image_id) as process:
            process.kill()
            process.wait(cli.SECONDS)
        return image_id, self.eventually(lambda: self.runs("--state", "interrupted"))[0]

    def runs(self, *more: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.json("run", "list", *more)
        return listed

    def eventually(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + cli.SECONDS
        while not (value := condition()):
            self.assertLess(time.monotonic(), end, "it never happened")
            threading.Event().wait(0.05)
        return value

    def assert_untouched(self, image_id: str) -> None:
        shown = self.json("image", "show", image_id)
        self.assertEqual(("queued", [], None), (shown["status"], shown["stores"], shown["size"]))
        self.assertNotIn("os_glance_import_task", shown["properties"])
        for place in ("staging", *cli.STORES):
            self.assertEqual([], self.held(place))


class SeenTest(RunTestCase):
    def test_listed_shown_and_drawn(self) -> None:
        """F4: what runs, where, since when and how far; each task with its state."""
        image_id = self.create()
        with self.importing(image_id):
            (run,) = self.eventually(lambda: [each for each in self.runs() if each["progress"]])
            self.assertEqual(("import-image", image_id, "running"), (run["flow"], run["image"], run["state"]))
            self.assertIn(os.uname().nodename, run["where"])
            self.assertIn("staging", run["progress"][0])
            shown = self.json("run", "show", run["id"])
            states = {each["task"]: each["state"] for each in shown["tasks"]}
            self.assertEqual(
                ("success", "running", "pending"), tuple(states[n] for n in ("lock", "download", "unlock"))
            )
            self.assertIn("alive", shown["not_resumable"])
            self.assertEqual([], self.runs("--image", "00000000-0000-0000-0000-000000000000"))
            self.assertEqual([], self.runs("--state", "success"))
            drawn = self.run_command("run", "graph", run["id"]).stdout.decode()
            self.assertIn('"lock" -> "begin";', drawn)
            self.assertIn("download\\nrunning", drawn)
            self.assertIn(
                "lock<br/>success", self.run_command("run", "graph", run["id"], "--format", "mermaid").stdout.decode()
            )

    def test_an_svg_without_graphviz(self) -> None:
        """One sentence that says what is missing; with Graphviz, a picture."""
        self.uploaded(b"x")
        (run,) = self.runs("--all")
        self.assertEqual("success", run["state"])
        said = self.refused("run", "graph", run["id"], "--format", "svg", PATH="")
        self.assertIn("Graphviz", said)
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "dot").write_text("#!/bin/sh\necho '<svg/>'\n")
        (tools / "dot").chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        self.assertEqual(b"<svg/>\n", self.run_command("run", "graph", run["id"], "--format", "svg", PATH=path).stdout)

    def test_nothing_to_see(self) -> None:
        self.assertEqual([], self.runs())
        for words in (("run", "show"), ("run", "resume"), ("run", "cancel"), ("run", "graph")):
            self.assertIn("there is no run", self.refused(*words, "no-such-run"))
        self.assertEqual([], self.json("run", "resume"))


class ResumedTest(RunTestCase):
    def test_a_killed_import_is_resumed(self) -> None:
        """C19: a run whose process was killed goes on in another one; a live one is left alone, and why is told."""
        image_id, run = self.killed()
        with self.importing(self.create()):
            self.server.size = cli.PIECE
            rows = self.json("run", "resume", status=0)
        self.assertEqual([(run["id"], "success")], [(row["id"], row["state"]) for row in rows[:1]])
        self.assertEqual("not resumed", rows[1]["state"])
        self.assertIn("alive", rows[1]["message"])
        self.assertEqual("active", self.json("image", "show", image_id)["status"])
        self.assertIn("is over", self.refused("run", "resume", run["id"]))

    def test_one_that_fails(self) -> None:
        """Resuming what cannot succeed undoes it, says so, and ends with status 1."""
        image_id, run = self.killed()
        self.server.status = 404
        done = self.run_command("run", "resume", run["id"], status=1)
        self.assertIn(b"404", done.stderr)
        self.assert_untouched(image_id)
        self.assertEqual([], self.runs())

    def test_no_wait(self) -> None:
        """The id of the run is printed at once, and a process of its own does the work."""
        image_id = self.create()
        self.server.size = cli.PIECE
        begun = self.json(*self.words(image_id, "--no-wait"))
        self.assertEqual((image_id, "begun"), (begun["id"], begun["state"]))
        self.eventually(lambda: self.json("image", "show", image_id)["status"] == "active")
        self.eventually(lambda: self.json("run", "show", begun["run"])["state"] == "success")
        self.assertIn("is active", self.refused(*self.words(image_id, "--no-wait")))


class StoppedTest(RunTestCase):
    def stop(self, *signals: int) -> tuple[str, str, int]:
        image_id = self.create()
        with self.importing(image_id) as process:
            assert process.stderr is not None
            said = b""
            for number, signum in enumerate(signals):
                process.send_signal(signum)
                if number + 1 < len(signals):
                    while b"suspending" not in said:
                        said += process.stderr.readline()
            said += process.stderr.read()
            process.wait(cli.SECONDS)
        return image_id, said.decode(), process.returncode

    def test_terminated(self) -> None:
        """SIGTERM suspends: the process ends in time although its task does not, and the run goes on at once."""
        image_id, said, status = self.stop(signal.SIGTERM)
        self.assertEqual(143, status, said)
        (run,) = self.runs()
        self.assertEqual("suspended", run["state"])
        self.assertIn(f"run resume {run['id']}", said.splitlines()[-1])
        self.server.size = cli.PIECE
        self.assertEqual("success", self.json("run", "resume", run["id"])[0]["state"])
        self.assertEqual("active", self.json("image", "show", image_id)["status"])

    def test_terminated_twice(self) -> None:
        """A second SIGTERM undoes."""
        self.configure(port=self.server.port, own="stop_grace = 60")
        image_id, said, status = self.stop(signal.SIGTERM, signal.SIGTERM)
        self.assertEqual(130, status, said)
        self.assertIn("is undone", said.splitlines()[-1])
        self.assert_untouched(image_id)
        self.assertEqual([], self.runs())

    def test_interrupted_after_it_was_terminated(self) -> None:
        """So does Ctrl-C."""
        self.configure(port=self.server.port, own="stop_grace = 60")
        image_id, said, status = self.stop(signal.SIGTERM, signal.SIGINT)
        self.assertEqual(130, status, said)
        self.assert_untouched(image_id)

    def test_the_whole_group_killed(self) -> None:
        """C19: SIGKILL of every process that the command started."""
        image_id = self.create()
        with self.importing(image_id, start_new_session=True) as process:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(cli.SECONDS)
        (run,) = self.eventually(lambda: self.runs("--state", "interrupted"))
        self.server.size = cli.PIECE
        self.assertEqual("success", self.json("run", "resume", run["id"])[0]["state"])
        self.assertEqual("active", self.json("image", "show", image_id)["status"])


class CancelledTest(RunTestCase):
    def test_a_live_run(self) -> None:
        """C27: asked from another process, it stops within five seconds and undoes."""
        image_id = self.create()
        with self.importing(image_id) as process:
            (run,) = self.runs()
            began = time.monotonic()
            shown = self.json("run", "cancel", run["id"])
            taken = time.monotonic() - began
            process.wait(cli.SECONDS)
        self.assertEqual(1, process.returncode)
        self.assertEqual(("failure", True), (shown["state"], shown["undone"]))
        self.assertLess(taken, 5 + 3, "with the start of the command")
        self.assert_untouched(image_id)

    def test_a_dead_run(self) -> None:
        """One that nobody works on is undone by whoever cancels it."""
        image_id, run = self.killed()
        self.assertTrue(self.json("run", "cancel", run["id"])["undone"])
        self.assert_untouched(image_id)
        self.assertIn("is over", self.refused("run", "cancel", run["id"]))


class DatabasesTest(RunTestCase):
    def test_beside_a_glance(self) -> None:
        """D1, D3: one command makes the tables of the flows' state and leaves a Glance's alone."""
        database = sa.create_engine(f"sqlite:///{self.folder}/glance.sqlite")
        with database.begin() as connection:
            connection.execute(sa.text("DROP TABLE glance_flows_alembic_version"))
        database.dispose()
        done = self.run_command("db", "sync", "-f", "json")
        self.assertIn(b"belongs to a Glance", done.stderr)
        self.assertIn(b'"made_by": "glance"', done.stdout)
        self.assertTrue((self.folder / "state" / "flows.sqlite").exists())

    def test_the_same_database_under_another_name(self) -> None:
        """D3: however it is spelt."""
        same = pathlib.Path(self.folder, ".", "x", "..", "glance.sqlite")
        (self.folder / "x").mkdir()
        self.configure(own=f"persistence_connection = sqlite:///{same}")
        self.assertIn("persistence_connection", self.refused("db", "sync"))
        self.assertIn("persistence_connection", self.refused("run", "list"))
