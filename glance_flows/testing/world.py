"""A world to test in: a folder with a database, file stores and a staging area, and a picture of all that is in it."""

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from glance_flows import opts, states
from glance_flows.db import Database, migrate, models
from glance_flows.services import Services
from glance_flows.testing.memory import MemoryStore

_TIMES = frozenset({"updated_at"})
_PROGRESS = frozenset({states.IMPORTING_TO, states.FAILED_IMPORT, states.STAGE_HOST})
_LOCKS = sa.select(models.image_properties).where(
    models.image_properties.c.name == states.LOCK, models.image_properties.c.deleted == sa.false()
)
_OPEN_TASKS = sa.select(models.tasks).where(models.tasks.c.status == states.TASK_PROCESSING)
_WITH_DATA = sa.select(models.image_locations).where(models.image_locations.c.status != states.DELETED)
_PICTURED = (models.images, models.image_locations, models.image_properties, models.image_tags, models.image_members)


def make_conf(root: Path, *stores: str, connection: str | None = None, **overrides: Any) -> cfg.ConfigOpts:
    """Return a configuration of file stores below a folder.

    :param root: the folder
    :param stores: names of the stores; the first is the default
    :param connection: database URL; by default an SQLite file in the folder
    :param overrides: other options, as ``option=value`` or ``section={"option": value}``
    """
    names = stores or ("s1", "s2", "s3")
    sections: dict[str, dict[str, Any]] = {
        "DEFAULT": {"enabled_backends": ",".join(f"{name}:file" for name in names)},
        "database": {"connection": connection or f"sqlite:///{root}/glance.sqlite"},
        "glance_store": {"default_backend": names[0]},
        states.STAGING_STORE: {"filesystem_store_datadir": root / "staging"},
        "glance_flows": {"state_path": root / "state"},
        **{name: {"filesystem_store_datadir": root / name} for name in names},
    }
    for name, value in overrides.items():
        group, values = (name, value) if isinstance(value, dict) else ("DEFAULT", {name: value})
        sections.setdefault(group, {}).update(values)
    lines = []
    for group, values in sections.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
    path = root / "glance-flows.conf"
    path.write_text("\n".join(lines) + "\n")
    return opts.load([path])


class World:
    """What a flow works on: the services of a configuration, images to work with, and a picture of everything.

    :param services: the services; their database gets its tables here
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.db: Database = services.db
        migrate.sync(services.db.engine)

    def image(self, data: bytes | None = None, store: str | None = None, **values: Any) -> str:
        """Make an image and return its id.

        :param data: its bytes, which go into ``store`` and make it active; None leaves it queued
        :param store: the name of a store of files or in memory, by default the default store
        :param values: columns of the image; ``properties`` and ``tags`` too
        """
        image_id = str(uuid.uuid4())
        props, tags = values.pop("properties", {}), tuple(values.pop("tags", ()))
        columns = {"name": "test", "disk_format": "raw", "container_format": "bare", "owner": "owner", **values}
        self.db.images.create({"id": image_id, **columns}, props, tags)
        if data is not None:
            self.store(image_id, data, store or self.services.stores.default)
        return image_id

    def store(self, image_id: str, data: bytes, store: str) -> None:
        """Put bytes into a store, and their location and digests into the rows, as a Glance would have done."""
        holder: Any = self.services.stores.get(store)
        url = holder.url_of(image_id)
        if isinstance(holder, MemoryStore):
            holder.objects[image_id] = data
        else:
            Path(str(url).removeprefix("file://")).write_bytes(data)
        digests = {
            "size": len(data),
            "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
        }

        def change(connection: sa.Connection) -> None:
            row = {"image_id": image_id, "value": url, "meta_data": {"store": store}, "status": states.ACTIVE}
            connection.execute(sa.insert(models.image_locations).values(**row))
            update = sa.update(models.images).where(models.images.c.id == image_id)
            connection.execute(update.values(status=states.ACTIVE, **digests))

        self.db.engine.write(change)

    def stage(self, image_id: str, data: bytes) -> None:
        """Stage bytes for a queued image."""
        staging = self.services.staging
        staging.directory.mkdir(parents=True, exist_ok=True)
        staging.path(image_id).write_bytes(data)
        self.db.images.stage(image_id, len(data), None)

    def picture(self) -> dict[str, Any]:
        """Return every row, file and object in memory, without times of change, progress keys and task rows (P6)."""
        found: dict[str, Any] = {}
        for table in _PICTURED:
            rows = self.db.engine.read(lambda c, t=table: list(c.execute(sa.select(t)).mappings()))  # type: ignore[misc]
            for row in rows:
                if row.get("name") not in _PROGRESS:
                    plain = {name: value for name, value in row.items() if name not in _TIMES}
                    found[f"{table.name} {row['id']}"] = plain
        for directory in self.directories():
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        for store in self.services.stores:
            if isinstance(store, MemoryStore):
                found |= {f"{store.name} {key}": data for key, data in store.objects.items()}
        return found

    def wrong(self) -> list[str]:
        """Return what is not whole: locks, data without a location, locations without data, staged leftovers."""
        found = [f"the lock of {row['image_id']} is held by {row['value']}" for row in self._rows(_LOCKS)]
        found += [f"task {row['id']} is {row['status']}" for row in self._rows(_OPEN_TASKS)]
        places = {row["value"].removeprefix("file://"): row for row in self._rows(_WITH_DATA)}
        *stores, staging = self.directories()
        files = {str(path): path for directory in stores for path in directory.rglob("*") if path.is_file()}
        found += [f"{path} has no location" for path in files.keys() - places.keys()]
        found += [f"location {places[path]['id']} has no data" for path in places.keys() - files.keys()]
        images = {row["id"]: row for row in self._rows(sa.select(models.images))}
        for path in files.keys() & places.keys():
            image = images[places[path]["image_id"]]
            if hashlib.sha512(files[path].read_bytes()).hexdigest() != image["os_hash_value"]:
                found.append(f"{path} is not what image {image['id']} is said to be")
        waiting = {row["id"] for row in images.values() if row["status"] == states.UPLOADING}
        staged = {path.name for path in staging.rglob("*") if path.is_file()}
        found += [f"{name} is left in staging" for name in staged - waiting]
        found += [f"what was staged for {name} is gone" for name in waiting - staged]
        settled = {states.QUEUED, states.UPLOADING, states.ACTIVE, states.PENDING_DELETE, states.DELETED}
        return found + [
            f"image {row['id']} is {row['status']}" for row in images.values() if row["status"] not in settled
        ]

    def _rows(self, query: sa.Select[Any]) -> list[Mapping[str, Any]]:
        return self.db.engine.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def directories(self) -> list[Path]:
        """Return the folders of the file stores and of the staging area."""
        conf = self.services.conf
        names = [name for name, kind in conf.enabled_backends.items() if kind == "file"]
        stores = [Path(conf[name].filesystem_store_datadir) for name in names]
        return [*stores, self.services.staging.directory]
