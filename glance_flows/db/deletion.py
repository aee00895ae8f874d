"""The rows of a deletion: everything that goes with an image, in one transaction each way (S1 to S3, P4)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import claims, models, properties
from glance_flows.db.engine import Engine

_images, _locations = models.images, models.image_locations
_ATTACHED = (models.image_properties, models.image_tags, models.image_members)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion found and when it happened, enough to take it back."""

    status: str
    at: datetime
    locations: tuple[int, ...]


class Deletions:
    """Marks images as deleted, and takes it back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, image_id: str) -> Deletion:
        """Make an image answer as deleted, its data still there: the image and its locations ``pending_delete`` (S1).

        An image without locations goes straight to ``deleted`` (S3).

        :raises Gone: it is deleted already
        :raises Forbidden: it is protected
        """
        at = timeutils.utcnow().replace(microsecond=0)
        made: list[Deletion] = []

        def change(connection: sa.Connection) -> Deletion:
            if made and self._deleted_at(connection, image_id) == at:
                return made[-1]  # by the transaction before, whose end nobody heard of
            status = claims.alive(connection, image_id)
            protected = sa.select(_images.c.protected).where(_images.c.id == image_id)
            if connection.execute(protected).scalar_one():
                raise errors.Forbidden(f"image {image_id} is protected and cannot be deleted.")
            of_image = sa.and_(_locations.c.image_id == image_id, _locations.c.deleted == sa.false())
            with_data = sa.select(_locations.c.id).where(of_image, _locations.c.status == states.ACTIVE)
            ids = tuple(connection.execute(with_data).scalars())
            pending = _deleted(at, status=states.PENDING_DELETE)
            connection.execute(sa.update(_locations).where(_locations.c.id.in_(ids)).values(**pending))
            # What is left are announcements of a glance-api's own parallel import: rows without data.
            gone = _deleted(at, status=states.DELETED)
            connection.execute(sa.update(_locations).where(of_image).values(**gone))
            to = states.PENDING_DELETE if ids else states.DELETED
            connection.execute(sa.update(_images).where(_images.c.id == image_id).values(**_deleted(at, status=to)))
            for part in _ATTACHED:
                live = sa.and_(part.c.image_id == image_id, part.c.deleted == sa.false())
                connection.execute(sa.update(part).where(live).values(**_deleted(at)))
            made.append(Deletion(status, at, ids))
            return made[-1]

        return self._engine.write(change)

    @staticmethod
    def _deleted_at(connection: sa.Connection, image_id: str) -> datetime | None:
        query = sa.select(_images.c.deleted_at).where(_images.c.id == image_id, _images.c.deleted == sa.true())
        found: datetime | None = connection.execute(query).scalar_one_or_none()
        return found

    def take_back(self, image_id: str, status: str, at: datetime, location_ids: tuple[int, ...]) -> bool:
        """Undo :meth:`begin`: the image as it was, with the locations whose data is still there; tell whether it was.

        An image that has lost all its data is not brought back: it stays as it is, for the scrubber to finish (S13).

        :param status: of the image before
        :param at: when it was deleted: what the same deletion took comes back, what was gone before stays gone
        :param location_ids: the locations it had
        """
        live: dict[str, Any] = {"deleted": False, "deleted_at": None, "updated_at": timeutils.utcnow()}
        ours = sa.and_(_locations.c.id.in_(location_ids), _locations.c.status == states.PENDING_DELETE)

        def change(connection: sa.Connection) -> bool:
            now = sa.select(_images.c.status).where(_images.c.id == image_id)
            if connection.execute(now).scalar_one_or_none() not in states.GONE:
                return True  # it was taken back before its process was killed
            if properties.value(connection, image_id, states.LOCK) is not None:
                return True  # a scrubber or a restore has it, and what becomes of it
            back = connection.execute(sa.update(_locations).where(ours).values(status=states.ACTIVE, **live))
            if location_ids and not back.rowcount:
                return False
            of_image = sa.and_(_images.c.id == image_id, _images.c.deleted_at == at, _images.c.status.in_(states.GONE))
            connection.execute(sa.update(_images).where(of_image).values(status=status, **live))
            for part in _ATTACHED:
                same = sa.and_(part.c.image_id == image_id, part.c.deleted_at == at)
                connection.execute(sa.update(part).where(same).values(**live))
            return True

        return self._engine.write(change)

    def finish(self, image_id: str) -> bool:
        """Move a pending image whose data is all gone to ``deleted``; tell whether it was (S2, S13)."""

        counts: list[int] = []

        def change(connection: sa.Connection) -> bool:
            left = sa.exists().where(_locations.c.image_id == image_id, _locations.c.status == states.PENDING_DELETE)
            row = sa.and_(_images.c.id == image_id, _images.c.status == states.PENDING_DELETE, ~left)
            done = {"status": states.DELETED, "updated_at": timeutils.utcnow()}
            counts.append(connection.execute(sa.update(_images).where(row).values(**done)).rowcount)
            return any(counts)  # called again because nobody knew whether it took place, it finds none

        return self._engine.write(change)


def _deleted(at: datetime, **more: Any) -> dict[str, Any]:
    return {"deleted": True, "deleted_at": at, "updated_at": at, **more}
