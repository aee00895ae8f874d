"""Images whose data waits to be removed: claimed, read and finished a page at a time, in statements for many at once.

A claim is the same reserved property that locks an image for an import (law 10), written for a whole page in one
transaction. It is renewed while the page is worked on; a claim that nobody renews is free again after the lease.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models
from glance_flows.db.claims import Claims
from glance_flows.db.crypt import Cryptographer
from glance_flows.db.engine import Engine
from glance_flows.images import Location

_images, _locations, _props = models.images, models.image_locations, models.image_properties


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pending images are meant.

    :param before: deleted at this moment or earlier; None for any
    :param image_id: one image
    :param owner: images of one project
    :param store: images with data in one store, and only that data
    """

    before: datetime | None = None
    image_id: str | None = None
    owner: str | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Doomed:
    """A location whose data is to be removed; ``location`` is None where its URL does not decrypt (S9)."""

    image_id: str
    location_id: int
    size: int | None
    store: str | None
    location: Location | None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingImage:
    """What can still be restored, or is about to go."""

    id: str
    name: str | None
    owner: str | None
    size: int | None
    deleted_at: datetime | None
    stores: tuple[str, ...]


class Pending:
    """Queries and changes of images and locations that are ``pending_delete``.

    :param claims: tells whether the lock of an image is dead
    :param lease: age of its last renewal at which a claim is void
    """

    def __init__(self, engine: Engine, cryptographer: Cryptographer, claims: Claims, lease: timedelta) -> None:
        self._engine = engine
        self._crypt = cryptographer
        self._claims = claims
        self._lease = lease

    def candidates(self, wanted: Selection, limit: int, after: str = "") -> list[str]:
        """Return the ids of up to ``limit`` pending images that nobody holds, in their order; touches nothing.

        :param after: only ids beyond this one
        """
        query = self._select(wanted, after).where(~self._held()).limit(limit)
        return self._engine.read(lambda connection: list(connection.execute(query).scalars()))

    def claim(
        self, run_id: str, candidates: list[str], *, live: bool = False, before: datetime | None = None
    ) -> list[str]:
        """Claim those of the candidates that are still pending and free, and return their ids.

        Rows that another scrubber is just claiming are passed over rather than waited for.

        :param live: claim images that live on, for the data they have pending (S12)
        :param before: only what was deleted at this moment or earlier: it may have been restored and deleted again
            since somebody looked (S4)
        """
        status = _images.c.status
        if live:
            here = sa.exists().where(_locations.c.image_id == _images.c.id, _of_live(before))
            pending = sa.and_(status != states.PENDING_DELETE, here)
        else:
            pending = sa.and_(status == states.PENDING_DELETE, _images.c.deleted == sa.true())
            if before is not None:
                pending = sa.and_(pending, _images.c.deleted_at <= before)
        wanted = sa.and_(_images.c.id.in_(candidates), pending)
        query = sa.select(_images.c.id).where(wanted).order_by(_images.c.id).with_for_update(skip_locked=True)

        def change(connection: sa.Connection) -> list[str]:
            return self._write_claims(connection, run_id, list(connection.execute(query).scalars()))

        return self._engine.write(change) if candidates else []

    def renew(self, run_id: str, image_ids: Iterable[str], *, live: bool = False) -> list[str]:
        """Renew the claims of a run that is still at work, and return the ids of the images it still has.

        :param live: the run has a task row, which a glance-api looks at
        """
        row = self._claims_of(run_id, image_ids)

        def change(connection: sa.Connection) -> list[str]:
            now = timeutils.utcnow()
            connection.execute(sa.update(_props).where(row).values(updated_at=now))
            if live:
                task = sa.update(models.tasks).where(models.tasks.c.id == run_id)
                connection.execute(task.values(updated_at=now))
            return list(connection.execute(sa.select(_props.c.image_id).where(row)).scalars())

        return self._engine.write(change)

    def release(self, run_id: str, image_ids: Iterable[str]) -> None:
        """Drop the claims of a run."""
        drop = sa.delete(_props).where(self._claims_of(run_id, image_ids))
        self._engine.write(lambda connection: connection.execute(drop))

    def doomed(
        self,
        run_id: str,
        image_ids: Iterable[str],
        store: str | None = None,
        *,
        live: bool = False,
        before: datetime | None = None,
    ) -> list[Doomed]:
        """Return the pending locations of the images among these that the run still holds.

        :param store: only those in this store
        :param live: the images live on; only what :meth:`live_images` would tell of them (S12)
        :param before: of those, what was deleted at this moment or earlier (S4)
        """
        mine = sa.select(_props.c.image_id).where(self._claims_of(run_id, image_ids))
        of_them = _of_live(before) if live else _locations.c.status == states.PENDING_DELETE
        pending = sa.and_(_locations.c.image_id.in_(mine), of_them)
        joined = _locations.join(_images, _images.c.id == _locations.c.image_id)
        query = sa.select(*_DOOMED).select_from(joined).where(pending).order_by(_locations.c.id)
        found = self._engine.read(lambda connection: [self._doomed(*row) for row in connection.execute(query)])
        return [item for item in found if store is None or item.store == store]

    def finish(self, run_id: str, image_ids: list[str], location_ids: list[int]) -> int:
        """Note that the data of locations is gone, bury images that have none left, drop the claims; one transaction.

        :return: how many images became ``deleted`` (S4, S13)
        """
        counts: list[int] = []

        def change(connection: sa.Connection) -> int:
            now = timeutils.utcnow()
            gone = {"status": states.DELETED, "updated_at": now}
            if location_ids:
                pending = sa.and_(_locations.c.id.in_(location_ids), _locations.c.status == states.PENDING_DELETE)
                connection.execute(sa.update(_locations).where(pending).values(**gone))
            left = sa.exists().where(
                _locations.c.image_id == _images.c.id, _locations.c.status == states.PENDING_DELETE
            )
            row = sa.and_(_images.c.id.in_(image_ids), _images.c.status == states.PENDING_DELETE, ~left)
            buried = connection.execute(sa.update(_images).where(row).values(**gone)).rowcount
            connection.execute(sa.delete(_props).where(self._claims_of(run_id, image_ids)))
            counts.append(int(buried))
            return max(counts)  # called again because nobody knew whether it took place, it finds none

        return self._engine.write(change)

    def held(self, wanted: Selection, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` pending images that somebody is at work on."""
        query = self._select(wanted, "").where(self._held()).limit(limit)
        return self._engine.read(lambda connection: list(connection.execute(query).scalars()))

    def between(self, wanted: Selection, limit: int, after: str, until: str | None) -> list[str]:
        """Return the ids of up to ``limit`` pending images, whoever holds them.

        :param after: only ids beyond this one
        :param until: and not beyond this one, if there is one
        """
        query = self._select(wanted, after).limit(limit)
        if until is not None:
            query = query.where(_images.c.id <= until)
        return self._engine.read(lambda connection: list(connection.execute(query).scalars()))

    def free(self, image_ids: Iterable[str]) -> list[str]:
        """Return those of the images that are still pending and that nobody holds any more."""
        query = self._select(Selection(), "").where(_images.c.id.in_(sorted(image_ids)), ~self._held())
        return self._engine.read(lambda connection: list(connection.execute(query).scalars()))

    def left(self, image_ids: Iterable[str], before: datetime | None = None) -> list[str]:
        """Return those of the images that are still pending, deleted at this moment or earlier, whoever holds them."""
        query = self._select(Selection(before), "").where(_images.c.id.in_(sorted(image_ids)))
        return self._engine.read(lambda connection: list(connection.execute(query).scalars()))

    def page(self, wanted: Selection, limit: int, after: str = "") -> list[PendingImage]:
        """Return pending images in the order of their ids, with the stores that still have data; touches nothing."""

        def read(connection: sa.Connection) -> list[PendingImage]:
            rows = list(connection.execute(self._select(wanted, after, *_SHOWN).limit(limit)).mappings())
            stores = self._stores_of(connection, [row["id"] for row in rows])
            return [PendingImage(**row, stores=tuple(stores.get(row["id"], ()))) for row in rows]

        return self._engine.read(read)

    def live_images(self, wanted: Selection, limit: int, after: int = 0) -> list[Doomed]:
        """Return pending locations of images that are not pending themselves, in the order of their ids (S12).

        :param after: only locations beyond this one
        """
        joined = _locations.join(_images, _images.c.id == _locations.c.image_id)
        query: sa.Select[Any] = (
            sa.select(*_DOOMED)
            .select_from(joined)
            .where(_of_live(wanted.before), _images.c.status != states.PENDING_DELETE, _locations.c.id > after)
        )
        query = self._filtered(query, wanted)
        if wanted.store is not None:
            query = query.where(_names(wanted.store))
        ordered = query.order_by(_locations.c.id).limit(limit)
        return self._engine.read(lambda connection: [self._doomed(*row) for row in connection.execute(ordered)])

    def _select(self, wanted: Selection, after: str, *columns: sa.Column[Any]) -> sa.Select[Any]:
        # An image that a glance-api is just deleting is pending a moment before it is deleted.
        pending = sa.and_(_images.c.status == states.PENDING_DELETE, _images.c.deleted == sa.true())
        query = self._filtered(sa.select(*(columns or (_images.c.id,))).where(pending), wanted)
        if wanted.before is not None:
            query = query.where(_images.c.deleted_at <= wanted.before)
        if wanted.store is not None:
            there = sa.and_(_locations.c.image_id == _images.c.id, _locations.c.status == states.PENDING_DELETE)
            query = query.where(sa.exists().where(there, _names(wanted.store)))
        return query.where(_images.c.id > after).order_by(_images.c.id)

    @staticmethod
    def _filtered(query: sa.Select[Any], wanted: Selection) -> sa.Select[Any]:
        if wanted.image_id is not None:
            query = query.where(_images.c.id == wanted.image_id)
        if wanted.owner is not None:
            query = query.where(_images.c.owner == wanted.owner)
        return query

    def _held(self) -> sa.Exists:
        """A live claim: not deleted, and renewed within the lease."""
        fresh = sa.func.coalesce(_props.c.updated_at, _props.c.created_at) > timeutils.utcnow() - self._lease
        return sa.exists().where(
            _props.c.image_id == _images.c.id, _props.c.name == states.LOCK, _props.c.deleted == sa.false(), fresh
        )

    def _write_claims(self, connection: sa.Connection, run_id: str, ids: list[str]) -> list[str]:
        """Write the claims of images whose rows are locked; the claims there are read as they are now, not as they were
        when the transaction began."""
        now = timeutils.utcnow()
        row = sa.and_(_props.c.image_id.in_(ids), _props.c.name == states.LOCK)
        known = {each.image_id: each for each in connection.execute(sa.select(_props).where(row).with_for_update())}
        others = [each for each in known.values() if not each.deleted and each.value != run_id]
        held = {each.image_id for each in others if self._alive(connection, each)}
        void, new = sorted(known.keys() - held), sorted(set(ids) - known.keys())
        live = {"value": run_id, "deleted": False, "deleted_at": None, "updated_at": now}
        if void:
            of_void = sa.and_(_props.c.image_id.in_(void), _props.c.name == states.LOCK)
            connection.execute(sa.update(_props).where(of_void).values(**live))
        if new:
            rows = [{"image_id": each, "name": states.LOCK, "created_at": now, **live} for each in new]
            connection.execute(sa.insert(_props), rows)
        return sorted({*void, *new})

    def _alive(self, connection: sa.Connection, lock: Any) -> bool:
        return self._claims.time_left(connection, lock) > timedelta()

    @staticmethod
    def _claims_of(run_id: str, image_ids: Iterable[str]) -> sa.ColumnElement[bool]:
        ids = sorted(image_ids)
        return sa.and_(_props.c.image_id.in_(ids), _props.c.name == states.LOCK, _props.c.value == run_id)

    def _doomed(
        self,
        image_id: str,
        location_id: int,
        size: int | None,
        deleted_at: datetime | None,
        value: str,
        document: Any,
        status: str,
    ) -> Doomed:
        """Return what a row of the columns :data:`_DOOMED` tells."""
        metadata = models.as_metadata(document)
        store = metadata.get("store")
        try:
            location = Location(location_id, self._crypt.decrypt(value), metadata, status)
        except errors.DatabaseError:
            location = None
        store = store if isinstance(store, str) else None
        return Doomed(image_id, location_id, size, store, location, deleted_at)

    @staticmethod
    def _stores_of(connection: sa.Connection, ids: list[str]) -> dict[str, list[str]]:
        if not ids:
            return {}
        query = sa.select(_locations.c.image_id, _locations.c.meta_data).where(
            _locations.c.image_id.in_(ids), _locations.c.status == states.PENDING_DELETE
        )
        found: dict[str, list[str]] = {}
        for row in connection.execute(query.order_by(_locations.c.id)):
            store = models.as_metadata(row.meta_data).get("store")
            found.setdefault(row.image_id, []).append(str(store or "?"))
        return found


def _of_live(before: datetime | None) -> sa.ColumnElement[bool]:
    """Whether a location of an image that lives on is due."""
    due = sa.and_(_locations.c.deleted == sa.true(), _locations.c.status == states.PENDING_DELETE)
    return due if before is None else sa.and_(due, _locations.c.deleted_at <= before)


def _names(store: str) -> sa.ColumnElement[bool]:
    """Whether the metadata of a location seem to name a store; what else has the name in it is sorted out later."""
    named: sa.ColumnElement[bool]
    named = sa.type_coerce(_locations.c.meta_data, sa.Text).contains(f'"{store}"', autoescape=True)
    return named


#: In the order of the arguments of :meth:`Pending._doomed`.
_DOOMED = (
    _locations.c.image_id,
    _locations.c.id,
    _images.c.size,
    _locations.c.deleted_at,
    _locations.c.value,
    _locations.c.meta_data,
    _locations.c.status,
)
_SHOWN = (_images.c.id, _images.c.name, _images.c.owner, _images.c.size, _images.c.deleted_at)
