"""Imports and copies from the command line, and being stopped in the middle of one."""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

from tests.functional import cli

DATA = os.urandom(300_000)


class FlowTest(cli.CommandTestCase):
    def test_copy(self) -> None:
        image_id = self.uploaded(DATA)
        done = self.json("copy", image_id, "--store", "archive")
        self.assertEqual((["archive"], [], "active"), (done["done"], done["failed"], done["status"]))
        self.assertEqual(["fast", "archive"], done["stores"])
        self.assertEqual(["remote"], self.json("copy", image_id, "--all-stores")["done"])
        for store in cli.STORES:
            self.assertEqual(DATA, (self.folder / store / image_id).read_bytes())

    def test_copy_that_is_not_waited_for(self) -> None:
        """F4: the command prints the run and ends; the copy goes on in a process of its own."""
        image_id = self.uploaded(DATA)
        begun = self.json("copy", image_id, "--store", "archive", "--store", "remote", "--no-wait")
        self.assertEqual((image_id, "begun"), (begun["id"], begun["state"]))
        end = time.monotonic() + cli.SECONDS
        while (run := self.json("run", "show", begun["run"]))["state"] not in ("success", "failure"):
            self.assertLess(time.monotonic(), end, "the copy never ends")
        self.assertEqual("success", run["state"], run)
        self.assertEqual(["archive", "fast", "remote"], sorted(self.json("image", "show", image_id)["stores"]))
        self.assertEqual(DATA, (self.folder / "archive" / image_id).read_bytes())

    def test_a_copy_that_is_refused_is_not_begun(self) -> None:
        """C6, C7: what would be refused is refused at once, without a run."""
        image_id = self.uploaded(DATA)
        for store in ("fast", "tape"):
            self.assertIn(store, self.refused("copy", image_id, "--store", store, "--no-wait"))
        copies = [run for run in self.json("run", "list", "--all") if run["flow"] == "copy-image"]
        self.assertEqual([], copies)

    def test_refusals(self) -> None:
        image_id = self.uploaded(DATA)
        self.assertIn("fast", self.refused("copy", image_id, "--store", "fast"))
        self.assertIn("tape", self.refused("copy", image_id, "--store", "tape"))
        self.assertIn("'pigeon' is not enabled", self.refused("import", image_id, "--method", "pigeon"))
        self.assertIn(
            "is active", self.refused("import", image_id, "--method", "web-download", "--uri", "http://127.0.0.1/")
        )
        self.assertIn("--store", self.refused("copy", image_id, status=2))
        self.assertIn("--store", self.refused("copy", image_id, "--store", "a", "--all-stores", status=2))
        self.assertEqual(["fast"], self.json("image", "show", image_id)["stores"])

    def test_a_store_that_fails(self) -> None:
        image_id = self.uploaded(DATA)
        self.block("archive", image_id)
        done = self.run_command("copy", image_id, "--all-stores", status=1)
        self.assertEqual(b"", done.stdout)
        self.assertIn("archive", done.stderr.decode().splitlines()[-1])
        self.assertEqual(["fast"], self.json("image", "show", image_id)["stores"])
        self.assertEqual([], self.held("remote"))
        part = self.json("copy", image_id, "--all-stores", "--allow-failure")
        self.assertEqual((["remote"], ["archive"]), (part["done"], part["failed"]))
        self.assertIn("archive", part["message"])

    def block(self, store: str, image_id: str) -> None:
        """Put a directory where the store would put the image: it can be neither written nor removed as a file."""
        (self.folder / store / image_id / "something").mkdir(parents=True)

    def test_progress_in_lines(self) -> None:
        image_id = self.uploaded(DATA)
        told = self.run_command("copy", image_id, "--store", "remote").stderr.decode().splitlines()
        for part in ("staging", "remote"):
            lines = [line for line in told if line.startswith(f"{part}: ")]
            self.assertEqual([f"{part}: started, 0.3 MiB"], lines[:1])
            self.assertIn("done, 0.3 MiB in", lines[-1])
        self.assertEqual(b"", self.run_command("-q", "copy", image_id, "--store", "archive").stderr)

    def test_progress_in_bars(self) -> None:
        image_id = self.uploaded(DATA)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.command("copy", image_id, "--store", "remote", "-f", "json"),
            env={**self.environment(), "TERM": "xterm", "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        with process, open(ours, "rb", buffering=0) as terminal:
            drawn = b""
            try:
                while chunk := terminal.read(4096):
                    drawn += chunk
            except OSError:  # how a terminal tells that nobody writes to it any more
                pass
            output = process.stdout.read() if process.stdout else b""
        self.assertEqual(0, process.returncode)
        self.assertIn(b"remote", drawn)
        self.assertIn(b"100%", drawn)
        self.assertTrue(output.startswith(b"{"))


class StoppedTest(cli.CommandTestCase):
    def stopped_import(self, signum: int) -> tuple[str, str, subprocess.Popen[bytes]]:
        image_id = self.create()
        with cli.SlowServer() as server:
            self.configure(port=server.port)
            words = ("import", image_id, "--method", "web-download", "--uri", server.url, "--all-stores")
            with self.started(*words) as process:
                self.assertTrue(server.asked.wait(cli.SECONDS))
                process.send_signal(signum)
                output, errors = process.communicate(timeout=cli.SECONDS)
        self.assertEqual(b"", output)
        return image_id, errors.decode(), process

    def assert_untouched(self, image_id: str) -> None:
        shown = self.json("image", "show", image_id)
        self.assertEqual(("queued", [], None), (shown["status"], shown["stores"], shown["size"]))
        self.assertNotIn("os_glance_import_task", shown["properties"])
        for place in ("staging", *cli.STORES):
            self.assertEqual([], self.held(place))

    def test_interrupted(self) -> None:
        image_id, errors, process = self.stopped_import(signal.SIGINT)
        self.assertEqual(130, process.returncode, errors)
        self.assertEqual("glance-flows: the import was stopped and is undone.", errors.splitlines()[-1])
        self.assert_untouched(image_id)
        self.assertEqual("failure", self.json("image", "show", image_id)["tasks"][0]["status"])

    def test_hung_up(self) -> None:
        image_id, errors, process = self.stopped_import(signal.SIGHUP)
        self.assertEqual(129, process.returncode, errors)
        self.assert_untouched(image_id)

    def test_interrupted_while_staging(self) -> None:
        image_id = self.create()
        with self.started("image", "upload", image_id, "--file", "-", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(DATA)
            process.stdin.flush()
            self.assertEqual(b"staging: started\n", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            # Standard input stays open: the command must not wait for it.
            errors = process.stderr.read().decode()
            process.wait(cli.SECONDS)
        self.assertEqual(130, process.returncode, errors)
        self.assert_untouched(image_id)

    def test_interrupted_while_nobody_takes_what_is_saved(self) -> None:
        image_id = self.uploaded(DATA)
        with self.started("image", "save", image_id, "--file", "-") as process:
            assert process.stderr is not None
            self.assertIn(b"fast: started", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            errors = process.stderr.read().decode()
            process.wait(cli.SECONDS)
        self.assertEqual(130, process.returncode, errors)
        self.assertEqual("active", self.json("image", "show", image_id)["status"])


class SignalsTest(cli.CommandTestCase):
    def script(self, text: str) -> subprocess.CompletedProcess[str]:
        path = pathlib.Path(self.folder, "script.py")
        path.write_text("import os, signal\nfrom glance_flows.cli.signals import Interrupted, Signals\n" + text)
        return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=cli.SECONDS)

    def test_the_second_signal_has_it_undone_and_the_third_only_says_that_it_takes_a_moment(self) -> None:
        done = self.script(
            "with Signals() as signals:\n"
            "    with signals.deferred():\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "        assert not signals.undo\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "        assert signals.undo\n"
            "        os.kill(os.getpid(), signal.SIGINT)\n"
            "    try:\n"
            "        signals.check()\n"
            "    except Interrupted as stop:\n"
            "        print(stop.status)\n"
        )
        self.assertEqual("130\n", done.stdout, done.stderr)
        self.assertEqual("glance-flows: still undoing; a moment.\n", done.stderr)

    def test_a_signal_ends_what_needs_no_undoing_at_once(self) -> None:
        done = self.script(
            "with Signals() as signals:\n"
            "    try:\n"
            "        os.kill(os.getpid(), signal.SIGINT)\n"
            "        print('went on')\n"
            "    except Interrupted as stop:\n"
            "        print(stop.status)\n"
        )
        self.assertEqual("130\n", done.stdout, done.stderr)

    def test_a_signal_that_was_ignored_stays_ignored(self) -> None:
        done = self.script(
            "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
            "with Signals() as signals:\n"
            "    os.kill(os.getpid(), signal.SIGHUP)\n"
            "    print(signals.signum)\n"
        )
        self.assertEqual("None\n", done.stdout, done.stderr)
