"""Properties of images: one key at a time, never a whole document (P2, P5)."""

from collections.abc import Mapping

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models
from glance_flows.db.engine import Engine

_table = models.image_properties


def value(connection: sa.Connection, image_id: str, name: str) -> str | None:
    """Return the value of a live property, or None."""
    query = sa.select(_table.c.value).where(_key(image_id, name), _table.c.deleted == sa.false())
    return connection.execute(query).scalar_one_or_none()


def put(connection: sa.Connection, image_id: str, name: str, new: str) -> None:
    """Set one property, whether it was there, was deleted, or is new (P4)."""
    now = timeutils.utcnow()
    revived = {"value": new, "deleted": False, "deleted_at": None, "updated_at": now}
    changed = connection.execute(sa.update(_table).where(_key(image_id, name)).values(**revived))
    if not changed.rowcount:
        connection.execute(sa.insert(_table).values(image_id=image_id, name=name, value=new))


def remove(connection: sa.Connection, image_id: str, name: str) -> None:
    """Delete one property's row; a flow's own progress keys leave no trace."""
    connection.execute(sa.delete(_table).where(_key(image_id, name)))


def _key(image_id: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(_table.c.image_id == image_id, _table.c.name == name)


class Properties:
    """What users and plugins may do to the properties of an image."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def merge(self, image_id: str, changes: Mapping[str, str], *, purge_properties: bool = False) -> None:
        """Set properties; others stay, unless ``purge_properties`` asks for them to go (P2, P3).

        :raises BadRequest: a name is reserved (C28)
        """
        for name in changes:
            if states.is_reserved_property(name):
                raise errors.BadRequest(f"the property {name} is reserved.")

        def change(connection: sa.Connection) -> None:
            for name, new in changes.items():
                put(connection, image_id, name, new)
            if purge_properties:
                self._purge(connection, image_id, set(changes))

        self._engine.write(change)

    @staticmethod
    def _purge(connection: sa.Connection, image_id: str, keep: set[str]) -> None:
        query = sa.select(_table.c.name).where(_table.c.image_id == image_id, _table.c.deleted == sa.false())
        names = set(connection.execute(query).scalars())
        doomed = {name for name in names - keep if not states.is_reserved_property(name)}
        now = timeutils.utcnow()
        for name in doomed:
            update = sa.update(_table).where(_key(image_id, name))
            connection.execute(update.values(deleted=True, deleted_at=now, updated_at=now))
