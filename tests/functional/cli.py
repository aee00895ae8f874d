"""The real command on a real database and real stores, and a web server that gives bytes as slowly as it is told."""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from glance_flows import opts
from glance_flows.db import engine, migrate
from tests import base

SECONDS = 60
STORES = ("fast", "archive", "remote")
PIECE = 64 * 1024

_CONFIG = """
[DEFAULT]
enabled_backends = fast:file, archive:file, remote:file
{default}
[database]
connection = sqlite:///{folder}/glance.sqlite
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[archive]
filesystem_store_datadir = {folder}/archive
[remote]
filesystem_store_datadir = {folder}/remote
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[glance_flows]
state_path = {folder}/state
chunk_size = {piece}
{own}
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{port}]
"""


def program() -> list[str]:
    """The installed command, beside the interpreter that runs the tests."""
    script = shutil.which("glance-flows", path=os.path.dirname(sys.executable))
    return [script] if script else [sys.executable, "-m", "glance_flows.cli.main"]


#: Whoever runs the tests in the background may have them ignore what the command is to be stopped with.
_MINDFUL = (
    "import os, signal, sys\n"
    "for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
    "    signal.signal(signum, signal.SIG_DFL)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


class SlowServer:
    """Sends pieces for ever, one at a time, announcing far more than it will ever send.

    :ivar size: set to a number of bytes, it sends these at once and no more
    :ivar status: of its answers
    """

    def __init__(self) -> None:
        self.size: int | None = None
        self.status = 200
        self.asked = threading.Event()
        self.over = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(server.status)
                self.send_header("Content-Length", str(1024 * PIECE if server.size is None else server.size))
                self.end_headers()
                with contextlib.suppress(OSError):
                    if server.size is not None:
                        self.wfile.write(bytes(server.size))
                        return
                    while not server.over.is_set():
                        self.wfile.write(bytes(PIECE))
                        server.asked.set()
                        server.over.wait(0.02)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/image"

    def __enter__(self) -> "SlowServer":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class CommandTestCase(base.TestCase):
    """A folder with a database and three stores, and the command that works on them."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "glance-api.conf"
        self.configure()
        database = engine.Engine(opts.load([self.config]))
        migrate.sync(database)
        database.dispose()

    def configure(self, default: str = "", port: int = 80, own: str = "") -> None:
        """Write the configuration file.

        :param own: more lines for the section of this library
        """
        text = _CONFIG.format(folder=self.folder, default=default, port=port, piece=PIECE, own=own)
        self.config.write_text(text)

    def environment(self) -> dict[str, str]:
        """An environment without anybody's own configuration or terminal."""
        kept = {name: value for name, value in os.environ.items() if name not in ("TERM", "COLUMNS")}
        return {**kept, "HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "cache")}

    def command(self, *arguments: str, configured: bool = True) -> list[str]:
        """The words of a command line."""
        files = ["--config-file", str(self.config)] if configured else []
        return [*program(), *files, *arguments]

    def run_command(
        self,
        *arguments: str,
        status: int = 0,
        configured: bool = True,
        data: bytes | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end and hold its exit status against ``status``."""
        done = subprocess.run(
            self.command(*arguments, configured=configured),
            input=data if data is not None else b"",
            capture_output=True,
            env={**self.environment(), **environment},
            cwd=self.folder,
            timeout=SECONDS,
        )
        self.assertEqual(status, done.returncode, done.stderr.decode(errors="replace"))
        if "--debug" not in arguments:
            self.assertNotIn(b"Traceback", done.stderr)
        return done

    def json(self, *arguments: str, **more: Any) -> Any:
        """Run a command with ``-f json`` and return what it printed."""
        return json.loads(self.run_command(*arguments, "-f", "json", **more).stdout)

    def refused(self, *arguments: str, status: int = 1, **more: Any) -> str:
        """Run a command that fails and return the one sentence that it says; nothing is on standard output."""
        done = self.run_command(*arguments, status=status, **more)
        self.assertEqual(b"", done.stdout)
        lines = done.stderr.decode().splitlines()
        if status == 1:
            self.assertEqual(1, len(lines), lines)
        return lines[-1]

    @contextlib.contextmanager
    def started(self, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command; whatever happens, it does not outlive the block."""
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-c", _MINDFUL, *self.command(*arguments)],
            env=self.environment(),
            cwd=self.folder,
            **{**pipes, **more},
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def create(self, name: str = "image", *more: str) -> str:
        """Create a raw image and return its id."""
        formats = ("--disk-format", "raw", "--container-format", "bare")
        return str(self.json("image", "create", "--name", name, *formats, *more)["id"])

    def uploaded(self, data: bytes, *stores: str) -> str:
        """Create an image with data in stores, and return its id."""
        image_id = self.create()
        chosen = [word for store in stores or ("fast",) for word in ("--store", store)]
        self.run_command("-q", "image", "upload", image_id, "--file", "-", *chosen, data=data)
        return image_id

    def held(self, store: str) -> list[str]:
        """The names of the files in a store or in ``staging``."""
        directory = self.folder / store
        return sorted(os.listdir(directory)) if directory.exists() else []
