"""Run a real Glance API: the released one, in a process of its own, without keystone or mocks.

The process serves Glance's own WSGI application with Glance's own middleware. Identity comes from
the headers that keystone's middleware would have set (``X-Project-Id``, ``X-Roles`` ...), which
Glance's ``context`` filter trusts if nothing stands before it; so a test acts as any tenant.

The ``glance-api.conf`` written here is complete: give its path to any other command that reads a
Glance configuration.
"""

import configparser
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import fixtures
import requests

from tests.interop.glance_client import GlanceClient
from tests.interop.waiting import wait_until

Value = str | int | float | bool
Override = Value | Mapping[str, Value]

SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 15.0
SECONDS_TO_SAVE = 15.0

PASTE = """\
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api

[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = versionnegotiation context rootapp

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""


class GlanceServer(fixtures.Fixture):
    """A Glance API on a free port of 127.0.0.1, with file stores, for as long as the fixture lives.

    :param root: an empty directory of ours: configuration, log, staging and state
    :param db_url: SQLAlchemy URL of an existing database (for SQLite, a file to be made); its
        tables are made or upgraded by ``glance-manage db sync``
    :param stores: name of each file store -> its directory; the first is the default backend
    :param python: the interpreter that has Glance and the database's driver
    :param conf_overrides: options of ``[DEFAULT]``; a mapping stands for a section of that name,
        for example ``delayed_delete=True, import_filtering_opts={"allowed_ports": "[80,8080]"}``
    :param serve: whether to run it; otherwise there are its configuration and its tables, and nothing more
    """

    def __init__(
        self,
        root: Path,
        db_url: str,
        stores: Mapping[str, Path],
        python: str = sys.executable,
        *,
        serve: bool = True,
        **conf_overrides: Override,
    ) -> None:
        super().__init__()
        self.root = root
        self.db_url = db_url
        self.stores = dict(stores)
        self.python = python
        self.conf_overrides = conf_overrides
        self.config_file = root / "glance-api.conf"
        self.log_file = root / "glance-api.log"
        self.staging = root / "staging"
        self.url = ""
        self._serve = serve
        self._process: subprocess.Popen[bytes] | None = None

    def _setUp(self) -> None:
        for directory in (self.root, self.staging, self.root / "tasks", *self.stores.values()):
            directory.mkdir(parents=True, exist_ok=True)
        with listening_socket() as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._write_configuration()
            self._sync_database()
            if not self._serve:
                return
            self._start(listening)
        self.addCleanup(self.stop)
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("the Glance API is not running; use the fixture first")
        return self._process.pid

    @property
    def admin(self) -> GlanceClient:
        """A client with the role admin, in a project of its own."""
        return self.as_tenant("admin-project", "admin", "member", "reader")

    def as_tenant(self, project: str, *roles: str) -> GlanceClient:
        """Return a client which acts in ``project``, by default with the roles of a member."""
        return GlanceClient(self.url, project, f"{project}-user", roles or ("member", "reader"))

    def restart(self) -> None:
        """Start again, on the same port and database, after :meth:`stop` or :meth:`kill`."""
        self.stop()
        with listening_socket(int(self.url.rpartition(":")[2])) as listening:
            self._start(listening)
        self._wait_until_ready()

    def kill(self) -> None:
        """End the process as a crash would: at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process in order; kill it if an import keeps it longer than it may take."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(SECONDS_TO_STOP)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    @contextlib.contextmanager
    def held_saves(self) -> Iterator["HeldSaves"]:
        """Let Glance read images but not save or remove them, for as long as the block lasts."""
        with open(self.root / "saves.lock", "a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield HeldSaves(self.root / "saving")

    def log(self) -> str:
        """Return what the server has logged so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _write_configuration(self) -> None:
        (self.root / "glance-api-paste.ini").write_text(PASTE)
        sections = self._sections()
        for name, value in self.conf_overrides.items():
            if isinstance(value, Mapping):
                sections.setdefault(name, {}).update(value)
            else:
                sections["DEFAULT"][name] = value
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        for section, options in sections.items():
            # oslo.config substitutes $name; a dollar in a URL or path is meant literally.
            texts = {key: str(value).replace("$", "$$") for key, value in options.items()}
            parser[section] = texts
        with self.config_file.open("w") as config_file:
            parser.write(config_file)

    def _sections(self) -> dict[str, dict[str, Value]]:
        sections: dict[str, dict[str, Value]] = {
            "DEFAULT": {
                "debug": True,
                "enabled_backends": ",".join(f"{name}:file" for name in self.stores),
                "enabled_import_methods": "[glance-direct,web-download,copy-image]",
                "worker_self_reference_url": self.url,
                "public_endpoint": self.url,
                "show_multiple_locations": True,
                "image_cache_dir": str(self.root / "cache"),
            },
            "database": {"connection": self.db_url},
            "glance_store": {"default_backend": next(iter(self.stores))},
            "oslo_concurrency": {"lock_path": str(self.root / "locks")},
            "paste_deploy": {"config_file": str(self.root / "glance-api-paste.ini")},
            "os_glance_staging_store": {"filesystem_store_datadir": str(self.staging)},
            "os_glance_tasks_store": {"filesystem_store_datadir": str(self.root / "tasks")},
        }
        for name, directory in self.stores.items():
            sections[name] = {"filesystem_store_datadir": str(directory)}
        return sections

    def _sync_database(self) -> None:
        command = [self.python, "-m", "glance.cmd.manage"]
        command += ["--config-file", str(self.config_file), "db", "sync"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"glance-manage db sync on {self.db_url} failed:\n{done.stdout}")

    def _start(self, listening: socket.socket) -> None:
        descriptor = listening.fileno()
        command = [self.python, str(Path(__file__).with_name("serve.py")), str(descriptor)]
        with self.log_file.open("ab") as log:
            self._process = self._spawn(command, descriptor, log)

    def _spawn(self, command: list[str], descriptor: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "OS_GLANCE_CONFIG_DIR": str(self.root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
        )

    def _wait_until_ready(self) -> None:
        wait_until(self._answers, SECONDS_TO_START, what="the Glance API's first answer")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the Glance API ended while it started:\n{self.log()[-4000:]}")
        try:
            return self.admin.request("GET", "images", params={"limit": "1"}, timeout=2).ok
        except requests.RequestException:
            return False


class HeldSaves:
    """The saves of a Glance, all waiting.

    :param mark: a file that Glance touches before it waits
    """

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        mark.unlink(missing_ok=True)

    def wait_for_one(self) -> None:
        """Wait until Glance has read an image and is about to save or remove it."""
        wait_until(self._mark.exists, SECONDS_TO_SAVE, what="a save of the Glance API")
        self._mark.unlink()


def listening_socket(port: int = 0) -> socket.socket:
    """Open a listening socket on 127.0.0.1, by default on a free port, to be handed to a child.

    Nobody can take the port between our choosing it and the server's using it.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening
