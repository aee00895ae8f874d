"""What the database knows of data, locks and tasks, read page by page to be compared with the world."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models
from glance_flows.db.claims import MARK, Claims
from glance_flows.db.crypt import Cryptographer
from glance_flows.db.engine import Engine
from glance_flows.images import Location

_images, _locations, _props = models.images, models.image_locations, models.image_properties
_tasks, _info = models.tasks, models.task_info
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Held:
    """An image, its status, and who holds it."""

    status: str
    holder: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A location that should have data; ``location`` is None where its URL does not decrypt."""

    image_id: str
    location_id: int
    store: str | None
    location: Location | None


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of an image whose holder shows no sign of life; ``ours`` where it is a run of this library."""

    image_id: str
    holder: str
    since: datetime
    task: str | None
    ours: bool


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task row in ``processing``."""

    id: str
    image_id: str | None
    since: datetime
    ours: bool


class Inventory:
    """Queries for an audit; nothing is changed but by :meth:`drop_lock` and :meth:`fail_task`."""

    def __init__(self, engine: Engine, cryptographer: Cryptographer, claims: Claims) -> None:
        self._engine = engine
        self._crypt = cryptographer
        self._claims = claims

    @property
    def comparable(self) -> bool:
        """Whether a URL can be looked up whatever image it belongs to."""
        return not self._crypt.enabled

    def images(self, image_ids: Collection[str]) -> dict[str, Held]:
        """Return the images that there are among these ids."""
        lock = sa.and_(_props.c.image_id == _images.c.id, _props.c.name == states.LOCK, _props.c.deleted == sa.false())
        query = sa.select(_images.c.id, _images.c.status, _props.c.value).select_from(_images.outerjoin(_props, lock))
        found = query.where(_images.c.id.in_(sorted(image_ids)))
        return self._engine.read(
            lambda connection: {row.id: Held(row.status, row.value) for row in connection.execute(found)}
        )

    def referenced(self, image_ids: Collection[str], urls: Collection[str]) -> set[str]:
        """Return the URLs that locations of these images, or of any other where that can be told, refer to."""
        known: sa.ColumnElement[bool] = _locations.c.image_id.in_(sorted(image_ids))
        if self.comparable:
            known = sa.or_(known, _locations.c.value.in_(sorted(urls)))
        query = sa.select(_locations).where(known, _locations.c.status != states.DELETED)
        rows = self._engine.read(lambda connection: list(connection.execute(query).mappings()))
        return {place.location.url for place in map(self._place, rows) if place.location is not None}

    def sealed(self) -> bool:
        """Tell whether there are URLs that were encrypted with a key that this configuration does not have at all."""
        unlike = sa.not_(_locations.c.value.contains("://"))
        query = sa.select(_locations.c.id).where(unlike, _locations.c.status != states.DELETED).limit(1)
        return not self._crypt.enabled and bool(self._engine.read(lambda connection: connection.execute(query).first()))

    def places_of(self, image_ids: Collection[str]) -> dict[str, list[Place]]:
        """Return the locations of images that may have data, those that wait to be removed among them."""
        mine = _locations.c.image_id.in_(sorted(image_ids))
        query = sa.select(_locations).where(mine, _locations.c.status != states.DELETED)
        found: dict[str, list[Place]] = {}
        for row in self._engine.read(lambda connection: list(connection.execute(query).mappings())):
            found.setdefault(row["image_id"], []).append(self._place(row))
        return found

    def places(self) -> Iterator[Place]:
        """Yield every location of a live image that should have data."""
        last = 0
        while True:
            wanted = sa.and_(_locations.c.id > last, _locations.c.status == states.ACTIVE)
            query = sa.select(_locations).where(wanted, _locations.c.deleted == sa.false())
            rows = self._page(query.order_by(_locations.c.id))
            if not rows:
                return
            yield from map(self._place, rows)
            last = rows[-1]["id"]

    def dead_locks(self) -> Iterator[Lock]:
        """Yield the locks of images whose holder shows no sign of life."""
        last = 0
        while rows := self._page(self._locks(last)):
            for row in rows:
                lock = self._dead(row)
                if lock is not None:
                    yield lock
            last = rows[-1]["id"]

    def stuck_tasks(self, before: datetime) -> Iterator[OpenTask]:
        """Yield the tasks of imports in ``processing`` that were last heard of before a moment."""
        last = ""
        while True:
            query = sa.select(_tasks, _info.c.input).join(_info, _info.c.task_id == _tasks.c.id, isouter=True)
            wanted = sa.and_(_tasks.c.id > last, _tasks.c.status == states.TASK_PROCESSING)
            ordered = query.where(wanted, _tasks.c.updated_at < before).order_by(_tasks.c.id)
            rows = self._page(ordered)
            if not rows:
                return
            for row in rows:
                yield OpenTask(row["id"], row["image_id"], row["updated_at"], MARK in (row["input"] or {}))
            last = rows[-1]["id"]

    def drop_lock(self, lock: Lock) -> bool:
        """Drop a lock if its holder is still the same and still dead; tell whether it was."""

        def change(connection: sa.Connection) -> bool:
            try:
                if self._claims.evict(connection, lock.image_id) != lock.holder:
                    return False
            except errors.ImageBusy:
                return False
            row = sa.and_(_props.c.image_id == lock.image_id, _props.c.name == states.LOCK)
            return bool(connection.execute(sa.delete(_props).where(row, _props.c.value == lock.holder)).rowcount)

        return self._engine.write(change)

    def fail_task(self, task_id: str, before: datetime, message: str) -> bool:
        """Fail a task that was last heard of before a moment; tell whether it was still so."""

        def change(connection: sa.Connection) -> bool:
            row = sa.and_(_tasks.c.id == task_id, _tasks.c.status == states.TASK_PROCESSING)
            failed = {"status": states.TASK_FAILURE, "updated_at": timeutils.utcnow()}
            old = sa.update(_tasks).where(row, _tasks.c.updated_at < before)
            if not connection.execute(old.values(**failed)).rowcount:
                return False
            connection.execute(sa.update(_info).where(_info.c.task_id == task_id).values(message=message))
            return True

        return self._engine.write(change)

    def _locks(self, after: int) -> sa.Select[Any]:
        held = sa.and_(_props.c.name == states.LOCK, _props.c.deleted == sa.false(), _props.c.id > after)
        joined = _props.outerjoin(_tasks, _tasks.c.id == _props.c.value).outerjoin(
            _info, _info.c.task_id == _tasks.c.id
        )
        query = sa.select(_props, _tasks.c.status.label("task"), _info.c.input).select_from(joined)
        return query.where(held).order_by(_props.c.id)

    def _dead(self, row: Any) -> Lock | None:
        sign = _Sign(row["value"], row["created_at"], row["updated_at"])
        left = self._engine.read(lambda connection: self._claims.time_left(connection, sign))
        if left.total_seconds() > 0:
            return None
        ours = row["task"] is None or MARK in (row["input"] or {})
        since = row["updated_at"] or row["created_at"]
        return Lock(row["image_id"], row["value"], since, row["task"], ours)

    def _page(self, query: sa.Select[Any]) -> Sequence[Any]:
        return self._engine.read(lambda connection: list(connection.execute(query.limit(_PAGE)).mappings()))

    def _place(self, row: Any) -> Place:
        metadata = models.as_metadata(row["meta_data"])
        store = metadata.get("store")
        try:
            url = self._crypt.decrypt(row["value"])
        except errors.DatabaseError:
            return Place(row["image_id"], row["id"], store, None)
        if "://" not in url:  # encrypted, and this configuration has no key
            return Place(row["image_id"], row["id"], store, None)
        return Place(row["image_id"], row["id"], store, Location(row["id"], url, metadata, row["status"]))


@dataclass(frozen=True, slots=True)
class _Sign:
    """What :meth:`Claims.time_left` looks at."""

    value: str
    created_at: datetime
    updated_at: datetime | None
