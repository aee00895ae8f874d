"""Rows of locations: added when a store has the bytes, removed when they are about to go."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import states
from glance_flows.db import claims, models, properties
from glance_flows.db.crypt import Cryptographer
from glance_flows.db.engine import Engine
from glance_flows.db.images import data_columns, move
from glance_flows.images import Contents, Location

_table = models.image_locations


class Locations:
    """Changes of the locations of images, each guarded by the lock of the run that makes it."""

    def __init__(self, engine: Engine, cryptographer: Cryptographer) -> None:
        self._engine = engine
        self._crypt = cryptographer

    def record(
        self, run_id: str, image_id: str, url: str, metadata: Mapping[str, Any], activate: Contents | None = None
    ) -> int:
        """Record that a store has the image's bytes, take the store off the list of those still to come (C17).

        Doing it twice makes one row: an active location of the same URL in the same store is the one of before.

        :param metadata: of the location; its ``store`` names the store
        :param activate: make the image active with these data, if this is its first location and it is to be seen now
        :return: the id of the location's row
        :raises Gone, LockLost: see :func:`claims.guard`
        """

        def change(connection: sa.Connection) -> int:
            claims.guard(connection, run_id, image_id)
            row_id = self._recorded(connection, image_id, url, metadata.get("store"))
            if row_id is None:
                new = {"image_id": image_id, "value": self._crypt.encrypt(url), "meta_data": dict(metadata)}
                row = connection.execute(sa.insert(_table).values(status=states.ACTIVE, **new))
                (row_id,) = row.inserted_primary_key or (0,)
            _drop_from_list(connection, image_id, str(metadata.get("store")))
            if activate is not None:
                move(connection, image_id, states.IMPORTING, states.ACTIVE, **data_columns(activate))
            return int(row_id)

        return self._engine.write(change)

    def _recorded(self, connection: sa.Connection, image_id: str, url: str, store: Any) -> int | None:
        live = sa.and_(_table.c.image_id == image_id, _table.c.status == states.ACTIVE, _table.c.deleted == sa.false())
        rows = connection.execute(sa.select(_table).where(live).order_by(_table.c.id)).mappings()
        # An encrypted URL is another each time: only what it says can be compared.
        same = (
            row["id"]
            for row in rows
            if models.as_metadata(row["meta_data"]).get("store") == store and self._crypt.decrypt(row["value"]) == url
        )
        return next(same, None)

    def fail(self, run_id: str, image_id: str, store: str) -> None:
        """Note that a store failed while the others go on (C13)."""

        def change(connection: sa.Connection) -> None:
            claims.guard(connection, run_id, image_id)
            _drop_from_list(connection, image_id, store)
            failed = _names(properties.value(connection, image_id, states.FAILED_IMPORT))
            if store not in failed:
                properties.put(connection, image_id, states.FAILED_IMPORT, ",".join([*failed, store]))

        self._engine.write(change)

    def take_back(self, image_id: str, location_id: int) -> str | None:
        """Remove the row of a location that the same run recorded and return its URL; its data goes next.

        The id alone does not do: SQLite gives the id of a row that is gone to the next one, of any image.

        Whatever the row's status is by now: a glance-api that had not seen the location marks it as deleted when it
        saves or deletes the image, and leaves the data where it is.
        """

        seen: list[str] = []

        def change(connection: sa.Connection) -> str | None:
            row = sa.and_(_table.c.id == location_id, _table.c.image_id == image_id)
            seen.extend(connection.execute(sa.select(_table.c.value).where(row)).scalars())
            connection.execute(sa.delete(_table).where(row))
            # Called again because nobody knew whether the row went, it may find none: its data is still to go.
            return self._crypt.decrypt(seen[0]) if seen else None

        return self._engine.write(change)

    def lost(self, location_ids: list[int]) -> list[Location]:
        """Return those of a run's locations that somebody else has marked as deleted meanwhile."""
        query = sa.select(_table).where(_table.c.id.in_(location_ids), _table.c.status == states.DELETED)

        def read(connection: sa.Connection) -> list[Location]:
            return [self._location(row) for row in connection.execute(query).mappings()]

        return self._engine.read(read)

    def publish(self, run_id: str, image_id: str, location_ids: list[int], first_data: Contents | None) -> None:
        """Make sure that the run's locations stand, and make an image with its first data active.

        A glance-api that saves an image which it read a moment earlier soft-deletes every location it had not seen:
        such rows are revived here. It brings back the status and the stores to come that it had read, too.

        :param first_data: what the data of an image that had none is; None for one that was active before
        :raises Gone, LockLost: see :func:`claims.guard`
        """

        def change(connection: sa.Connection) -> None:
            status = claims.guard(connection, run_id, image_id)
            lost = sa.and_(
                _table.c.id.in_(location_ids), _table.c.deleted == sa.true(), _table.c.status == states.DELETED
            )
            alive = {"deleted": False, "deleted_at": None, "status": states.ACTIVE, "updated_at": timeutils.utcnow()}
            connection.execute(sa.update(_table).where(lost).values(**alive))
            properties.put(connection, image_id, states.IMPORTING_TO, "")
            # Kept until now: after a failure the staged data is still where it was (C20).
            properties.remove(connection, image_id, states.STAGE_HOST)
            if first_data is not None:
                if status in (states.QUEUED, states.UPLOADING):
                    move(connection, image_id, status, states.IMPORTING)
                move(connection, image_id, states.IMPORTING, states.ACTIVE, **data_columns(first_data))

        self._engine.write(change)

    def of(self, image_id: str) -> list[Location]:
        """Return every location of an image whose data is not known to be gone, its URL decrypted."""
        query = sa.select(_table).where(_table.c.image_id == image_id, _table.c.status != states.DELETED)

        def read(connection: sa.Connection) -> list[Location]:
            rows = connection.execute(query.order_by(_table.c.id)).mappings()
            return [self._location(row) for row in rows]

        return self._engine.read(read)

    def in_store(self, image_id: str, store: str) -> list[Location]:
        """Return the active locations of an image in one store."""
        return [place for place in self.of(image_id) if place.store == store and place.status == states.ACTIVE]

    def _location(self, row: Any) -> Location:
        url = self._crypt.decrypt(row["value"])
        return Location(row["id"], url, models.as_metadata(row["meta_data"]), row["status"])

    def used_elsewhere(self, image_id: str, url: str) -> bool:
        """Tell whether a location of another image has this URL; encrypted URLs cannot be compared and count as not."""
        if self._crypt.enabled:
            return False
        query = sa.select(_table.c.id).where(_table.c.image_id != image_id, _table.c.value == url)
        found = query.where(_table.c.status != states.DELETED).limit(1)
        return self._engine.read(lambda connection: connection.execute(found).first() is not None)

    def mark_deleted(self, location_id: int) -> None:
        """Note that the data of a location is gone."""
        now = timeutils.utcnow()
        values = {"status": states.DELETED, "deleted": True, "deleted_at": now, "updated_at": now}
        self._engine.write(
            lambda connection: connection.execute(sa.update(_table).where(_table.c.id == location_id).values(**values))
        )


def _names(value: str | None) -> list[str]:
    return [name for name in (value or "").split(",") if name]


def _drop_from_list(connection: sa.Connection, image_id: str, store: str) -> None:
    waiting = _names(properties.value(connection, image_id, states.IMPORTING_TO))
    if store in waiting:
        rest = [name for name in waiting if name != store]
        properties.put(connection, image_id, states.IMPORTING_TO, ",".join(rest))
