"""Our flows beside a running Glance: on its database, its stores and its configuration file as it is."""

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from glance_flows import FlowSpec, Identity, Run, Runner, opts
from glance_flows.images import Staged
from glance_flows.ports import Reading, Stored
from glance_flows.services import Services
from glance_flows.stores import DriverStore, Stores
from tests.interop.base import SharedGlanceTestCase
from tests.interop.glance_client import Downloaded, GlanceClient
from tests.interop.waiting import wait_until

SECONDS_TO_RUN = 30.0
PARTS = ("image_locations", "image_properties", "image_tags", "image_members")


class HeldStore:
    """One of Glance's own stores that takes nothing before ``hold`` is set.

    :param store: the store
    :ivar started: set when the first upload has arrived
    """

    def __init__(self, store: DriverStore) -> None:
        self._store = store
        self.hold = threading.Event()
        self.started = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add(self, image_id: str, staged: Staged, reading: Reading) -> Stored:
        """Upload, once that is allowed; stop waiting when the run is to stop."""
        self.started.set()
        while not self.hold.wait(0.02):
            reading.cancel.check()
        return self._store.add(image_id, staged, reading)


@dataclasses.dataclass
class HeldRun:
    """A run that waits in the middle, before its upload to one of the stores."""

    run: Run
    store: HeldStore

    def let_go(self) -> None:
        """Let the upload go on, and wait for the end of the run."""
        self.store.hold.set()
        self.ended()

    def ended(self) -> BaseException | None:
        """Wait for the end of the run and return why it failed, or None."""
        if not self.run.wait(SECONDS_TO_RUN):
            raise TimeoutError(f"run {self.run.id} did not end")
        return self.run.error


class BesideGlanceTestCase(SharedGlanceTestCase):
    """A test with ``self.runner``: the library, configured by the file of the Glance that runs."""

    def setUp(self) -> None:
        super().setUp()
        own = self.root / "glance-flows.conf"
        own.write_text(f"[glance_flows]\nstate_path = {self.root / 'flows'}\n")
        self.conf_files = [self.server.config_file, own]
        self.runner = Runner.from_conf(opts.load(self.conf_files))
        self.addCleanup(self.runner.close)
        self.glance = self.server.admin

    def active_image(self, data: bytes, client: GlanceClient | None = None, **attributes: Any) -> str:
        """Let Glance make an image, with its data in s1."""
        client = client or self.glance
        image_id: str = client.create_image(**attributes)["id"]
        client.upload(image_id, data, store="s1")
        return image_id

    @contextlib.contextmanager
    def held(self, spec: FlowSpec, store: str, identity: Identity | None = None) -> Iterator[HeldRun]:
        """Start a run and wait until all its stores but one are done and that one is about to be uploaded to."""
        services = Services.from_conf(opts.load(self.conf_files))
        waiting = HeldStore(services.stores.get(store))
        stores: Any = {item.name: waiting if item.name == store else item for item in services.stores}
        services = dataclasses.replace(services, stores=Stores(stores, services.stores.default))
        runner = Runner(services)
        try:
            run = runner.submit(spec, identity=identity)
            wait_until(lambda: waiting.started.is_set() or run.error, SECONDS_TO_RUN, what="the upload")
            yield HeldRun(run, waiting)
        finally:
            waiting.hold.set()
            runner.close()

    def rows(self, table: str, image_id: str) -> list[dict[str, Any]]:
        """Return an image's rows in a table, deleted ones too."""
        column = "id" if table == "images" else "image_id"
        return self.database.rows(f"SELECT * FROM {table} WHERE {column} = :i ORDER BY id", i=image_id)

    def properties(self, image_id: str) -> dict[str, str]:
        """Return the live properties of an image, reserved ones too."""
        return {row["name"]: row["value"] for row in self.rows("image_properties", image_id) if not row["deleted"]}

    def locations(self, image_id: str) -> list[str]:
        """Return the status of each location row, in the order they were made."""
        return [row["status"] for row in self.rows("image_locations", image_id)]

    def stores_of(self, image_id: str) -> set[str]:
        """Return the stores that Glance shows."""
        shown = str(self.glance.show(image_id).get("stores", ""))
        names = [name for name in shown.split(",") if name]
        self.assertEqual(len(set(names)), len(names), shown)
        return set(names)

    def assert_held_by(self, stores: set[str], image_id: str, data: bytes) -> None:
        """Glance shows exactly these stores, each has the same bytes, no other has any, and nothing is staged."""
        self.assertEqual(stores, self.stores_of(image_id))
        holding = {name: self.stored(name, image_id) for name in self.store_names}
        self.assertEqual({name for name in stores}, {name for name, held in holding.items() if held is not None})
        self.assertEqual({data}, {held for held in holding.values() if held is not None})
        self.assertEqual(whole(data), self.glance.download(image_id))
        self.assertEqual([], self.staged(image_id))

    def assert_nothing_left(self, image_id: str, held_by: set[str] | None = None) -> None:
        """No lock, no live row, nothing staged, and no data but in the stores named."""
        self.assertEqual(404, self.glance.request("GET", f"images/{image_id}").status_code)
        alive = [row for part in PARTS for row in self.rows(part, image_id) if not row["deleted"]]
        self.assertEqual([], alive)
        self.assertNotIn("os_glance_import_task", {row["name"] for row in self.rows("image_properties", image_id)})
        holding = {name for name in self.store_names if self.stored(name, image_id) is not None}
        self.assertEqual(held_by or set(), holding)
        self.assertEqual([], self.staged(image_id))

    def staged(self, image_id: str) -> list[Path]:
        """Return the files of an image in the staging area."""
        return list(self.server.staging.glob(f"{image_id}*"))

    def schema(self) -> dict[str, list[str]]:
        """Return the columns of every table in Glance's database."""
        engine = sa.create_engine(self.database.url, poolclass=sa.pool.NullPool)
        inspector = sa.inspect(engine)
        tables = inspector.get_table_names()
        return {table: [column["name"] for column in inspector.get_columns(table)] for table in tables}


def whole(data: bytes) -> Downloaded:
    """Return what a download of all of these bytes is."""
    return Downloaded(hashlib.sha512(data).hexdigest(), len(data))
