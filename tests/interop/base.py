"""What tests against a real Glance stand on: a server, a database, or a reason to skip."""

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import fixtures
from testtools import content

from tests import base
from tests.interop.databases import Database, ServiceMissingError, services_are_required
from tests.interop.glance_server import GlanceServer, Override

# Glance may live in an interpreter of its own, with other versions of its libraries than ours.
GLANCE_PYTHON = "GLANCE_FLOWS_GLANCE_PYTHON"
LOG_TAIL = 20000


@functools.cache
def glance_python() -> str | None:
    """Return the interpreter that has Glance: the one named in the environment, or this one."""
    named = os.environ.get(GLANCE_PYTHON)
    if named is None:
        return sys.executable if importlib.util.find_spec("glance") else None
    found = subprocess.run([named, "-c", "import glance"], check=False, capture_output=True)
    return named if found.returncode == 0 else None


class GlanceTestCase(base.TestCase):
    """A test with :attr:`root`, a directory of its own, and :meth:`start_glance`."""

    #: ``sqlite``, ``postgresql`` or ``mysql``
    backend = "sqlite"
    store_names = ("s1", "s2", "s3")

    root: Path
    database: Database
    server: GlanceServer

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)

    def start_glance(self, *, serve: bool = True, **conf_overrides: Override) -> GlanceServer:
        """Start a Glance with three file stores on an empty database, for this test alone.

        Skips the test, with the reason, if Glance or the database's server is missing; fails it
        if ``GLANCE_FLOWS_REQUIRE_SERVICES=1``.
        """
        python = glance_python()
        if python is None:
            self._missing("the package glance is not installed")
        try:
            self.database = self.use(Database(self.backend, self.root))
        except ServiceMissingError as missing:
            self._missing(str(missing))
        self.server = self.use(
            GlanceServer(
                self.root / "glance",
                self.database.url,
                {name: self.root / "stores" / name for name in self.store_names},
                python or sys.executable,
                serve=serve,
                **conf_overrides,
            )
        )
        self.addOnException(self._show_log)
        return self.server

    def use(self, fixture: Any) -> Any:
        """Set a fixture up and keep it as long as the Glance lives: here, for this test."""
        return self.useFixture(fixture)

    def stored(self, store: str, image_id: str) -> bytes | None:
        """Return the bytes a file store holds for an image, or None."""
        path = self.root / "stores" / store / image_id
        return path.read_bytes() if path.exists() else None

    def _missing(self, reason: str) -> None:
        if services_are_required():
            self.fail(reason)
        self.skipTest(reason)

    def _show_log(self, exc_info: object) -> None:
        self.addDetail("glance-api.log", content.text_content(self.server.log()[-LOG_TAIL:]))


class SharedGlanceTestCase(GlanceTestCase):
    """Tests that share one Glance and its database, each with images of its own.

    The Glance starts with the first test of the class, so that a missing service skips each test.
    """

    #: whether the Glance runs; otherwise there is its database only
    serve = True

    _shared: ClassVar[dict[str, Any]]

    def setUp(self) -> None:
        super().setUp()
        cls = type(self)
        if "_shared" in cls.__dict__:
            self.__dict__.update(cls._shared)
            self.addOnException(self._show_log)
            return
        root = tempfile.TemporaryDirectory(prefix="glance-interop-")
        cls.addClassCleanup(root.cleanup)
        self.root = Path(root.name)
        self.start_glance(serve=self.serve, **self.configure())
        cls._shared = {name: getattr(self, name) for name in ("root", "database", "server")}

    def configure(self) -> Mapping[str, Override]:
        """Return the options of the Glance, as :class:`GlanceServer` takes them."""
        return {}

    def use(self, fixture: Any) -> Any:
        fixture.setUp()
        type(self).addClassCleanup(fixture.cleanUp)
        return fixture
