"""What the contract suites stand on: a world of files and memory, hands to stand in the middle of it, and its books."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import states
from glance_flows.db import models
from glance_flows.images import Staged
from glance_flows.notify import Notifier
from glance_flows.ports import Progress, Reading, Stored
from glance_flows.services import Services
from glance_flows.stores import DriverStore, Stores
from glance_flows.testing import FlowTestCase, MemoryStore, make_conf
from tests import base

#: Longer than anything here takes; reaching it is a failure, never a way to wait.
PATIENCE = 30.0


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Return the first true value of ``condition``; fail if there is none for too long."""
    pause = threading.Event()
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        pause.wait(0.01)
    return value


class Events:
    """Takes down every notification."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, payload: Mapping[str, Any]) -> None:
        self.seen.append((event, dict(payload)))

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the payloads of one event."""
        return [payload for name, payload in self.seen if name == event]


class _Gate:
    """Progress that stops a store after its first piece."""

    def __init__(self, store: "HeldStore", progress: Progress) -> None:
        self._store, self._progress = store, progress

    def begin(self, part: str, total: int | None) -> None:
        self._progress.begin(part, total)

    def advance(self, part: str, count: int) -> None:
        self._progress.advance(part, count)
        self._store.started.set()
        self._store.hold.wait(PATIENCE)

    def finish(self, part: str, state: str) -> None:
        self._progress.finish(part, state)


class HeldStore(DriverStore):
    """A real store that stands still after the first piece of an upload, while ``hold`` is not set."""

    def __init__(self, store: DriverStore) -> None:
        self.__dict__.update(store.__dict__)
        self.hold = threading.Event()
        self.started = threading.Event()

    def add(self, image_id: str, staged: Staged, reading: Reading) -> Stored:
        gate = _Gate(self, reading.progress)
        return super().add(image_id, staged, dataclasses.replace(reading, progress=gate))


class FlowCase(FlowTestCase, base.TestCase):
    """A world of three file stores ``s1`` (the default), ``s2``, ``s3`` and three in memory: ``m1``, ``m2``, ``m3``."""

    memory: tuple[str, ...] = ("m1", "m2", "m3")
    #: Set by the classes that run on a server.
    connection: str | None = None

    def setUp(self) -> None:
        # The pulse looks at the images every second; a test is not to wait for that.
        patcher = mock.patch("glance_flows.listeners._LOOK_SECONDS", 0.02)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.events = Events()
        self.logged = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        super().setUp()
        self.addCleanup(self.release_all)
        self.db = self.world.db

    def configure(self) -> dict[str, Any]:
        return {"connection": self.connection, "glance_flows": {"progress_interval": 0.1, "cancel_grace": 2}}

    def make_services(self) -> Services:
        conf = make_conf(self.root, **self.configure())
        services = Services.from_conf(conf, Notifier(self.events))
        stores: dict[str, Any] = {store.name: store for store in services.stores}
        stores |= {name: MemoryStore(name) for name in self.memory}
        return dataclasses.replace(services, stores=Stores(stores, services.stores.default))

    def store(self, name: str) -> Any:
        """Return a store."""
        return self.services.stores.get(name)

    def hold(self, name: str) -> Any:
        """Make a store stand still in its next upload until its ``hold`` is set; return it."""
        store = self.store(name)
        if not isinstance(store, MemoryStore):
            store = HeldStore(store)
            self.services.stores._stores[name] = store
        store.hold.clear()
        return store

    def release_all(self) -> None:
        """Let every store go on."""
        for store in self.services.stores:
            if hasattr(store, "hold"):
                store.hold.set()

    def reached(self, store: Any) -> None:
        """Wait until an upload stands in a held store."""
        self.assertTrue(store.started.wait(PATIENCE), f"no upload reached {store.name}")

    def bytes_in(self, image_id: str, name: str) -> bytes | None:
        """Return the object of an image in a store, None if there is none."""
        store = self.store(name)
        if isinstance(store, MemoryStore):
            return store.objects.get(image_id)
        path = Path(str(store.url_of(image_id)).removeprefix("file://"))
        return path.read_bytes() if path.exists() else None

    def stores_with(self, image_id: str) -> list[str]:
        """Return the stores that hold an object of the image, whatever the database says."""
        return [name for name in self.services.stores.names if self.bytes_in(image_id, name) is not None]

    def staged_files(self) -> list[str]:
        """Return the names of the files in the staging area."""
        directory = self.services.staging.directory
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        """Return the rows of a table with these values."""
        columns = models.metadata.tables[table]
        query = sa.select(columns).filter_by(**equal)
        return self.db.engine.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def change(self, table: str, where: dict[str, Any], **values: Any) -> None:
        """Change rows behind the library's back, as another program would."""
        statement = sa.update(models.metadata.tables[table]).filter_by(**where).values(**values)
        self.db.engine.write(lambda connection: connection.execute(statement))

    def insert(self, table: str, **values: Any) -> None:
        """Insert a row behind the library's back."""
        statement = sa.insert(models.metadata.tables[table]).values(**values)
        self.db.engine.write(lambda connection: connection.execute(statement))

    def prop(self, image_id: str, name: str) -> str | None:
        """Return the value of a live property of an image."""
        return self.db.images.get(image_id).properties.get(name)

    def lock_as_another(self, image_id: str, *, age: int = 0, ours: bool = True, task: bool = True) -> str:
        """Hold an image as another process does whose last sign of life was ``age`` seconds ago; return its run id."""
        run_id = f"other-{image_id[:20]}"
        then = timeutils.utcnow() - timedelta(seconds=age)
        times = {"created_at": then, "updated_at": then}
        self.insert("image_properties", image_id=image_id, name=states.LOCK, value=run_id, **times)
        if task:
            row = {"type": "api_image_import", "status": "processing", "owner": "owner", "image_id": image_id}
            self.insert("tasks", id=run_id, **row, **times)
            self.insert("task_info", task_id=run_id, input={"glance_flows": {}} if ours else {}, message="")
        return run_id

    def age_lock(self, image_id: str, seconds: float) -> None:
        """Make the last sign of life of whoever holds an image so many seconds old."""
        then = timeutils.utcnow() - timedelta(seconds=seconds)
        times = {"created_at": then, "updated_at": then}
        self.change("tasks", {"id": self.prop(image_id, states.LOCK)}, **times)
        self.change("image_properties", {"image_id": image_id, "name": states.LOCK}, **times)

    def assertUntouched(self, image_id: str, before: dict[str, Any]) -> None:
        """The world is as it was, and nothing of the run is left (C9, C12, P6)."""
        self.assertEqual(before, self.world.picture())
        self.assertIsNone(self.prop(image_id, states.LOCK))
        self.assertEqual([], self.staged_files())
