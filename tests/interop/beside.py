"""Our flows beside a running Glance: on its database, its stores and its configuration file as it is."""

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from glance_flows import FlowSpec, Identity, Run, Runner, opts
from glance_flows.stores import DriverStore
from glance_flows.stores.reader import StagedReader
from tests.interop.base import SharedGlanceTestCase
from tests.interop.glance_client import PATCH_TYPE, Downloaded, GlanceClient
from tests.interop.waiting import wait_until

SECONDS_TO_RUN = 30.0
PARTS = ("image_locations", "image_properties", "image_tags", "image_members")


class Gate:
    """Stands before a store: the driver has the bytes open, and writes none of them before it is told to.

    :param store: the store
    :ivar reached: set when the first upload has arrived
    :ivar open: to be set to let it go on
    """

    def __init__(self, store: DriverStore) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self._driver = store._driver
        self._add = self._driver.add
        self._driver.add = self

    def __call__(self, image_id: str, reader: StagedReader, *arguments: Any) -> Any:
        self.reached.set()
        while not self.open.wait(0.02):
            reader._check()
        return self._add(image_id, reader, *arguments)


@dataclasses.dataclass
class HeldRun:
    """A run that waits in the middle, in its uploads to some of the stores."""

    run: Run
    gates: dict[str, Gate]

    def let_go(self) -> BaseException | None:
        """Let the uploads go on, wait for the end of the run, and return why it failed, or None."""
        for gate in self.gates.values():
            gate.open.set()
        return self.ended()

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

    def hold(self, spec: FlowSpec, *stores: str, identity: Identity | None = None) -> HeldRun:
        """Start a run and wait until it has done all but its uploads to these stores, which have begun."""
        runner = Runner.from_conf(opts.load(self.conf_files))
        self.addCleanup(runner.close)
        gates = {name: Gate(runner.services.stores.get(name)) for name in stores}
        for gate in gates.values():
            self.addCleanup(gate.open.set)
        run = runner.submit(spec, identity=identity)
        begun = [gate.reached for gate in gates.values()]
        wait_until(
            lambda: (all(event.is_set() for event in begun) and self.to_come(run.image_id) == set(stores)) or run.error,
            SECONDS_TO_RUN,
            what=f"the upload to {stores}",
        )
        return HeldRun(run, gates)

    def to_come(self, image_id: str) -> set[str]:
        """Return the stores that an import has still to fill (C16)."""
        names = self.properties(image_id).get("os_glance_importing_to_stores", "")
        return {name for name in names.split(",") if name}

    @contextlib.contextmanager
    def late_save(self, image_id: str, *changes: Mapping[str, Any]) -> Iterator[None]:
        """Let Glance read the image for a PATCH, then the block happen, and then Glance save what it had read."""
        with self._late("PATCH", image_id, json=changes, headers={"Content-Type": PATCH_TYPE}):
            yield

    @contextlib.contextmanager
    def late_deletion(self, image_id: str) -> Iterator[None]:
        """Let Glance read the image for a DELETE, then the block happen, and then Glance mark it as deleted."""
        with self._late("DELETE", image_id):
            yield

    @contextlib.contextmanager
    def _late(self, method: str, image_id: str, **keywords: Any) -> Iterator[None]:
        answers: list[requests.Response] = []

        def ask() -> None:
            answers.append(self.glance.request(method, f"images/{image_id}", **keywords))

        with self.server.held_saves() as saves:
            thread = threading.Thread(target=ask)
            thread.start()
            saves.wait_for_one()
            yield
        thread.join()
        self.assertTrue(answers[0].ok, answers[0].text)

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
