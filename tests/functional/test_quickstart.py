"""quickstart: what it says is true, twice over, and what it tells to type works as it stands."""

import contextlib
import http.server
import os
import pathlib
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Iterator
from typing import Any

from oslo_utils.imageutils import format_inspector

from glance_flows.quickstart import disk
from tests import base
from tests.functional import cli


@contextlib.contextmanager
def web(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """Serve fixed answers by path and yield the URL before the path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuickstartTest(cli.CommandTestCase):
    def quickstart(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        return self.run_command("quickstart", *arguments, configured=False, **more)

    def next_commands(self, output: bytes) -> list[list[str]]:
        lines = output.decode().split("\nNext:\n")[1].splitlines()
        return [shlex.split(line) for line in lines]

    def follow(self, output: bytes) -> list[bytes]:
        """Type what it says to type next, in the shell and the directory it was said in."""
        printed = []
        for line in output.decode().split("\nNext:\n")[1].splitlines():
            done = subprocess.run(
                line, shell=True, capture_output=True, cwd=self.folder, env=self.environment(), timeout=cli.SECONDS
            )
            self.assertEqual(0, done.returncode, (line, done.stderr))
            printed.append(done.stdout)
        return printed

    def test_twice_in_the_same_folder(self) -> None:
        directory = "my \"folder's %s 😀"
        first = self.quickstart("--dir", directory)
        path = self.folder / directory
        config = (path / "glance-flows.conf").read_text()
        self.assertIn(b"staging: done, 64.0 MiB", first.stderr)
        again = self.quickstart("--dir", directory)
        self.assertIn(b"used again", again.stdout)
        self.assertIn(b"from last time", again.stdout)
        self.assertNotIn(b"used again", first.stdout)
        self.assertEqual(config, (path / "glance-flows.conf").read_text())
        data = (path / "disk.raw").read_bytes()
        for output in (first.stdout, again.stdout):
            self.follow(output)
            commands = self.next_commands(output)
            saved = pathlib.Path(self.folder, commands[1][-1])
            self.assertEqual(data, saved.read_bytes())
        for store in ("fast", "archive", "remote", "spare", "staging"):
            held = os.listdir(path / store) if (path / store).exists() else []
            self.assertEqual([], held, "everything was deleted in the end")

    def test_what_it_says_is_there(self) -> None:
        output = self.quickstart().stdout.decode()
        shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in output.splitlines() if line.startswith("  ")}
        data = (self.folder / "glance-flows-quickstart" / "disk.raw").read_bytes()
        for store in cli.STORES:
            self.assertEqual(data, pathlib.Path(shown[store]).read_bytes())
        for name in ("configuration", "database"):
            self.assertTrue(pathlib.Path(shown[name]).is_file())

    def test_only_the_outcome_when_quiet(self) -> None:
        done = self.run_command("-q", "quickstart", configured=False)
        self.assertEqual(b"", done.stderr)
        self.assertTrue(done.stdout.startswith(b"\nDone: image "))

    def test_folders_that_are_not_ours(self) -> None:
        (self.folder / "full").mkdir()
        (self.folder / "full" / "precious").write_text("mine")
        (self.folder / "file").write_text("mine")
        (self.folder / "empty").mkdir()
        for name in ("full", "file", "what?", "$HOME", "a#b", "two\nlines"):
            self.assertIn("--dir", self.refused("quickstart", "--dir", name, configured=False))
        self.assertEqual(["precious"], os.listdir(self.folder / "full"))
        self.quickstart("--dir", "empty")

    def test_a_file(self) -> None:
        image = self.folder / "tiny image.raw"
        image.write_bytes(os.urandom(100_000))
        output = self.quickstart("--image", "tiny image.raw").stdout
        self.follow(output)
        self.assertIn(b"tiny image.raw", output)
        self.assertIn("cannot read nowhere", self.refused("-q", "quickstart", "--image", "nowhere", configured=False))

    def test_a_url_that_redirects(self) -> None:
        body = os.urandom(100_000)
        with contextlib.ExitStack() as servers:
            there = servers.enter_context(web({"/real": (200, {}, body)}))
            sent_on = (302, {"Location": f"{there}/real"}, b"")
            here = servers.enter_context(web({"/image.raw": sent_on}))
            output = self.quickstart("--image", f"{here}/image.raw").stdout
        self.assertIn(b"image.raw", output)
        commands = self.next_commands(output)
        self.follow(output)
        self.assertEqual(body, pathlib.Path(self.folder, commands[1][-1]).read_bytes())

    def test_urls_that_do_not_work(self) -> None:
        with web({"/gone": (404, {}, b"")}) as here:
            told = self.refused("-q", "quickstart", "--image", f"{here}/gone", configured=False)
        self.assertIn("the server answers 404", told)
        told = self.refused("-q", "quickstart", "--image", "http://user:secret@127.0.0.1/x", configured=False)
        self.assertNotIn("secret", told)

    def test_interrupted(self) -> None:
        with cli.SlowServer() as server:
            words = ("--dir", "q", "--image", server.url)
            with self.started("quickstart", *words) as process:
                assert process.stderr is not None
                self.assertIn(b"staging: started", process.stderr.readline())
                process.send_signal(signal.SIGINT)
                server.over.set()
                errors = process.stderr.read().decode()
                process.wait(cli.SECONDS)
        self.assertEqual(130, process.returncode, errors)
        config = str(self.folder / "q" / "glance-flows.conf")
        self.assertEqual([], self.json("--config-file", config, "image", "list", configured=False))


class DiskTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def test_the_partition_table_is_sound(self) -> None:
        path = self.folder / "disk.raw"
        self.assertTrue(disk.make(path))
        self.assertFalse(disk.make(path))
        data = path.read_bytes()
        self.assertEqual(64 * 1024 * 1024, len(data))
        last = len(data) // 512 - 1
        for own, other in ((1, last), (last, 1)):
            header = data[own * 512 : own * 512 + 92]
            self.assertEqual(b"EFI PART", header[:8])
            crc = struct.unpack_from("<I", header, 16)[0]
            self.assertEqual(zlib.crc32(header[:16] + bytes(4) + header[20:]), crc)
            self.assertEqual((own, other), struct.unpack_from("<QQ", header, 24))
            first_usable, last_usable = struct.unpack_from("<QQ", header, 40)
            table_at, count, size, table_crc = struct.unpack_from("<QIII", header, 72)
            table = data[table_at * 512 : table_at * 512 + count * size]
            self.assertEqual(zlib.crc32(table), table_crc)
            start, end = struct.unpack_from("<QQ", table, 32)
            self.assertTrue(first_usable <= start < end <= last_usable)
            self.assertTrue(table_at + 32 <= start or table_at > last_usable)

    def test_it_is_what_the_inspector_calls_a_disk(self) -> None:
        path = self.folder / "disk.raw"
        disk.make(path)
        inspector = format_inspector.detect_file_format(str(path))
        assert inspector is not None
        self.assertEqual("gpt", str(inspector))
        inspector.safety_check()

    def test_formats_by_their_first_bytes(self) -> None:
        self.assertEqual("qcow2", disk.format_of(b"QFI\xfb" + bytes(100)))
        self.assertEqual("iso", disk.format_of(bytes(32769) + b"CD001"))
        self.assertEqual("raw", disk.format_of(b""))
