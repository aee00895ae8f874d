"""The rows of a restore: taken, looked at, and brought back in one transaction (R1, R5, R8)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import claims, models, properties
from glance_flows.db.claims import Claims
from glance_flows.db.engine import Engine

_images, _locations, _props = models.images, models.image_locations, models.image_properties
_ATTACHED = (models.image_properties, models.image_tags, models.image_members)
#: The longest that a deletion by a glance-api may take from its first row to its last.
_LONGEST_DELETION = timedelta(seconds=60)
#: The same, where its first row is not known.
_USUAL_DELETION = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back with an image: how many properties, tags and members."""

    properties: int = 0
    tags: int = 0
    members: int = 0


class Restorations:
    """Brings pending images back.

    :param claims_: tells whether a lock is dead
    """

    def __init__(self, engine: Engine, claims_: Claims) -> None:
        self._engine = engine
        self._claims = claims_

    def take(self, run_id: str, image_id: str) -> None:
        """Take a pending image, so that no scrubber touches it.

        :raises NotFound: there is no image of this id (R4)
        :raises Conflict: it is not pending (R4)
        :raises ImageBusy: a scrubber or another restore holds it (R8)
        """

        def change(connection: sa.Connection) -> None:
            self._check_pending(connection, image_id)
            if properties.value(connection, image_id, states.LOCK) == run_id:
                return
            dead = self._claims.evict(connection, image_id)
            claims.seize(connection, run_id, image_id, dead)

        self._engine.write(change)

    def drop(self, run_id: str, image_id: str) -> None:
        """Drop the lock of a restore that did not happen."""
        lock = sa.and_(_props.c.image_id == image_id, _props.c.name == states.LOCK, _props.c.value == run_id)
        self._engine.write(lambda connection: connection.execute(sa.delete(_props).where(lock)))

    def revive(
        self, run_id: str, image_id: str, present: list[int], missing: list[int], *, data_only: bool = False
    ) -> Restored:
        """Make the image active again, and drop the lock: wholly or not at all (R8).

        :param present: ids of the locations whose data is there
        :param missing: ids of those whose data is gone
        :param data_only: leave properties, tags and members deleted (R5)
        :raises LockLost: the image was taken over meanwhile
        :raises Conflict: it is no longer pending
        """

        made = [Restored()]

        def change(connection: sa.Connection) -> Restored:
            if self._is_back(connection, image_id, present):
                return made[-1]
            deleted_at = self._check_pending(connection, image_id)
            began = None if deleted_at is None else _beginning(connection, image_id, deleted_at)
            if properties.value(connection, image_id, states.LOCK) != run_id:
                raise errors.LockLost(f"image {image_id} is no longer held by run {run_id}.")
            properties.remove(connection, image_id, states.LOCK)
            live: dict[str, Any] = {"deleted": False, "deleted_at": None, "updated_at": timeutils.utcnow()}
            connection.execute(
                sa.update(_locations).where(_locations.c.id.in_(present)).values(status=states.ACTIVE, **live)
            )
            gone = sa.update(_locations).where(_locations.c.id.in_(missing))
            connection.execute(gone.values(status=states.DELETED, updated_at=timeutils.utcnow()))
            of_image = sa.update(_images).where(_images.c.id == image_id)
            connection.execute(of_image.values(status=states.ACTIVE, **live))
            if data_only or deleted_at is None or began is None:
                return Restored()
            span = (began, deleted_at)
            made.append(Restored(*(_back(connection, part, image_id, span, live) for part in _ATTACHED)))
            return made[-1]

        return self._engine.write(change)

    @staticmethod
    def _is_back(connection: sa.Connection, image_id: str, present: list[int]) -> bool:
        """Whether the very same restore was done before its process was killed."""
        status = connection.execute(sa.select(_images.c.status).where(_images.c.id == image_id)).scalar_one_or_none()
        active = sa.and_(_locations.c.id.in_(present), _locations.c.status == states.ACTIVE)
        count = connection.execute(sa.select(sa.func.count()).where(active)).scalar_one()
        return bool(status == states.ACTIVE and present and count == len(present))

    @staticmethod
    def _check_pending(connection: sa.Connection, image_id: str) -> datetime | None:
        query = sa.select(_images.c.status, _images.c.deleted_at).where(_images.c.id == image_id)
        row = connection.execute(query.with_for_update()).first()
        if row is None:
            raise errors.NotFound(f"No image found with ID {image_id}")
        if row.status != states.PENDING_DELETE:
            raise errors.Conflict(
                f"cannot restore the image from {row.status} to active (wanted from_state=pending_delete)"
            )
        deleted_at: datetime | None = row.deleted_at
        return deleted_at


def _beginning(connection: sa.Connection, image_id: str, deleted_at: datetime) -> datetime:
    """Return when the deletion of an image began.

    This library stamps every row of a deletion alike. A glance-api stamps the locations, then the properties, then the
    image with its tags and members, each with the time of day: whatever it removed lies between the first and the last.
    """
    pending = sa.and_(_locations.c.image_id == image_id, _locations.c.status == states.PENDING_DELETE)
    query = sa.select(sa.func.max(_locations.c.deleted_at)).where(pending, _locations.c.deleted_at <= deleted_at)
    first: datetime | None = connection.execute(query).scalar_one()
    if first is None:
        return deleted_at - _USUAL_DELETION
    return max(first, deleted_at - _LONGEST_DELETION)


def _back(
    connection: sa.Connection, part: sa.Table, image_id: str, span: tuple[datetime, datetime], live: dict[str, Any]
) -> int:
    """Revive the rows that the same deletion took, and no others."""
    row = sa.and_(part.c.image_id == image_id, part.c.deleted == sa.true(), part.c.deleted_at.between(*span))
    if "name" in part.c:
        row = sa.and_(row, ~part.c.name.startswith(states.RESERVED_PREFIX, autoescape=True))
    return int(connection.execute(sa.update(part).where(row).values(**live)).rowcount)
