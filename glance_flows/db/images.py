"""Rows of images: read whole, written one column and one state at a time (P4, P5)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import claims, models, properties
from glance_flows.db.crypt import Cryptographer
from glance_flows.db.engine import Engine
from glance_flows.images import Contents, Image, Location, Member

_images = models.images
_PARTS = (models.image_locations, models.image_properties, models.image_tags, models.image_members)
_DATES = ("created_at", "updated_at", "deleted_at")
_COLUMNS = (
    *("id", "status", "name", "owner", "visibility", "protected", "deleted", "disk_format", "container_format"),
    *("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", *_DATES),
)


class Images:
    """Queries and changes of single images."""

    def __init__(self, engine: Engine, cryptographer: Cryptographer) -> None:
        self._engine = engine
        self._crypt = cryptographer

    def get(self, image_id: str) -> Image:
        """Return an image with its live locations, properties, tags and members, whatever its status.

        :raises NotFound: there is no row of this id
        """

        def query(connection: sa.Connection) -> Image:
            row = connection.execute(sa.select(_images).where(_images.c.id == image_id)).mappings().first()
            if row is None:
                raise errors.NotFound(f"there is no image {image_id}.")
            return self._assemble(connection, dict(row))

        return self._engine.read(query)

    def page(self, *, after: str | None = None, limit: int = 500, gone: bool = False, **equal: Any) -> list[Image]:
        """Return images in the order of their ids, without their parts; an empty list when there are no more.

        :param after: the last id of the page before
        :param gone: list deleted images too
        :param equal: columns and the values they must have; None stands for any
        """
        query = sa.select(*(_images.c[name] for name in _COLUMNS)).order_by(_images.c.id).limit(limit)
        if after is not None:
            query = query.where(_images.c.id > after)
        if not gone:
            query = query.where(_images.c.deleted == sa.false())
        for name, wanted in equal.items():
            if wanted is not None:
                query = query.where(_images.c[name] == wanted)
        return self._engine.read(lambda connection: [Image(**row) for row in connection.execute(query).mappings()])

    def each(self, **equal: Any) -> Iterator[Image]:
        """Yield every image that :meth:`page` finds, a page at a time."""
        after = None
        while page := self.page(after=after, **equal):
            yield from page
            after = page[-1].id

    def create(self, values: Mapping[str, Any], props: Mapping[str, str], tags: tuple[str, ...] = ()) -> None:
        """Insert a queued image with its properties and tags.

        :raises BadRequest: a property is reserved (C28), or the id is taken
        """
        reserved = [name for name in props if states.is_reserved_property(name)]
        if reserved:
            raise errors.BadRequest(f"the property {reserved[0]} is reserved.")

        tried: list[Any] = []

        def change(connection: sa.Connection) -> None:
            taken = connection.execute(sa.select(_images).where(_images.c.id == values["id"])).mappings().first()
            if taken and tried and all(taken[name] == value for name, value in values.items()):
                return  # by the transaction before, whose end nobody heard of
            if taken:
                raise errors.BadRequest(f"there is an image {values['id']} already.")
            tried.append(values["id"])
            connection.execute(sa.insert(_images).values(status=states.QUEUED, **values))
            for name, value in props.items():
                properties.put(connection, values["id"], name, value)
            for tag in tags:
                connection.execute(sa.insert(models.image_tags).values(image_id=values["id"], value=tag))

        self._engine.write(change)

    def move(self, image_id: str, from_status: str, to: str, **columns: Any) -> bool:
        """Change the status of a live image if it is still ``from_status``; tell whether it was.

        :param columns: other columns to set in the same statement
        """
        return self._engine.write(lambda connection: move(connection, image_id, from_status, to, **columns))

    def stage(self, image_id: str, size: int, host: str | None, place: Callable[[], None] = lambda: None) -> bool:
        """Note that a queued image's data is staged; tell whether it was queued, and nobody at work on it.

        :param size: of the data, in bytes
        :param host: the URL of this host, for a glance-api that is to send its requests here
        :param place: puts the data where it belongs, while the image's row is locked, so that one of several wins
        """

        placed: list[bool] = []

        def change(connection: sa.Connection) -> bool:
            status = claims.alive(connection, image_id)
            if status == states.UPLOADING and placed:
                return True  # by the transaction before, whose end nobody heard of
            if status != states.QUEUED:
                return False
            if properties.value(connection, image_id, states.LOCK) is not None:
                return False
            place()
            placed.append(True)
            moved = move(connection, image_id, states.QUEUED, states.UPLOADING, size=size)
            if moved and host:
                properties.put(connection, image_id, states.STAGE_HOST, host)
            return moved

        return self._engine.write(change)

    def begin_import(self, run_id: str, image_id: str, stores: list[str], *, importing: bool) -> None:
        """Show in the image that it is imported, and whereto (C16).

        :param importing: whether the image has no data yet and its status tells so
        :raises Gone, LockLost: see :func:`claims.guard`
        """

        def change(connection: sa.Connection) -> None:
            status = claims.guard(connection, run_id, image_id)
            if importing and status != states.IMPORTING:
                move(connection, image_id, status, states.IMPORTING)
            properties.put(connection, image_id, states.IMPORTING_TO, ",".join(stores))
            properties.put(connection, image_id, states.FAILED_IMPORT, "")

        self._engine.write(change)

    def end_import(self, run_id: str, image_id: str, status: str | None, columns: Mapping[str, Any]) -> None:
        """Put the image back after a failed import: its status and data columns (C12, P6).

        :param status: the status before the import; None for an image that was active all along
        """

        def change(connection: sa.Connection) -> None:
            claims.guard(connection, run_id, image_id)
            if status is not None:
                for current in (states.IMPORTING, states.ACTIVE):
                    move(connection, image_id, current, status, **columns)
            properties.put(connection, image_id, states.IMPORTING_TO, "")

        self._engine.write(change)

    def _assemble(self, connection: sa.Connection, row: Mapping[str, Any]) -> Image:
        locations, props, tags, members = (self._live(connection, part, row["id"]) for part in _PARTS)
        return Image(
            **{name: row[name] for name in _COLUMNS},
            locations=tuple(self.location(part) for part in locations if part["status"] != states.DELETED),
            properties={part["name"]: part["value"] for part in props},
            tags=tuple(part["value"] for part in tags),
            members=tuple(Member(part["member"], part["status"]) for part in members),
        )

    def location(self, row: Mapping[str, Any]) -> Location:
        """Return a location from its row, the URL decrypted."""
        url = self._crypt.decrypt(row["value"])
        return Location(row["id"], url, models.as_metadata(row["meta_data"]), row["status"])

    @staticmethod
    def _live(connection: sa.Connection, part: sa.Table, image_id: str) -> list[Mapping[str, Any]]:
        query = sa.select(part).where(part.c.image_id == image_id, part.c.deleted == sa.false()).order_by(part.c.id)
        return [dict(row) for row in connection.execute(query).mappings()]


def data_columns(contents: Contents | None) -> dict[str, Any]:
    """Return the columns that describe an image's data; all None where it has none."""
    if contents is None:
        return dict.fromkeys(("size", "checksum", "os_hash_algo", "os_hash_value", "virtual_size"))
    return {
        "size": contents.size,
        "checksum": contents.checksum,
        "os_hash_algo": contents.hash_algo,
        "os_hash_value": contents.hash_value,
        "virtual_size": contents.virtual_size,
    }


def move(connection: sa.Connection, image_id: str, from_status: str, to: str, **columns: Any) -> bool:
    """Change the status of a live image by compare-and-swap, within a transaction; tell whether it was ``from_status``.

    :raises ValueError: no image may ever go from the one status to the other
    """
    if not states.may_change(from_status, to):
        raise ValueError(f"an image never goes from {from_status} to {to}")
    row = sa.and_(_images.c.id == image_id, _images.c.status == from_status, _images.c.deleted == sa.false())
    values = {**columns, "status": to, "updated_at": timeutils.utcnow()}
    return bool(connection.execute(sa.update(_images).where(row).values(**values)).rowcount)
