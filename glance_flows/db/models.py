"""Glance's tables as ``glance-manage db sync`` makes them (D1); nothing here adds a column or a table to them."""

import json
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils
from sqlalchemy import sql, types

metadata = sa.MetaData()


class JSONText(types.TypeDecorator[Any]):
    """A JSON document in a text column; what cannot be read comes back as None, for the caller to report."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        try:
            return None if value is None else json.loads(value)
        except ValueError:
            return None


def as_metadata(document: Any) -> dict[str, Any]:
    """Return the metadata of a location; of a document that cannot be read, or is no object, an empty one."""
    return document if isinstance(document, dict) else {}


def _big() -> types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _stamps() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_at", sa.DateTime, nullable=False, default=timeutils.utcnow),
        sa.Column("updated_at", sa.DateTime, nullable=True, default=timeutils.utcnow),
        sa.Column("deleted_at", sa.DateTime, nullable=True),
        sa.Column("deleted", sa.Boolean, nullable=False, default=False),
    ]


def _table(name: str, *parts: Any) -> sa.Table:
    return sa.Table(name, metadata, *parts, mysql_engine="InnoDB", mysql_charset="utf8mb4")


def _image_id() -> sa.Column[str]:
    return sa.Column("image_id", sa.String(36), sa.ForeignKey("images.id"), nullable=False)


images = _table(
    "images",
    sa.Column("id", sa.String(36), primary_key=True, nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("size", _big()),
    sa.Column("status", sa.String(30), nullable=False),
    *_stamps(),
    sa.Column("disk_format", sa.String(20)),
    sa.Column("container_format", sa.String(20)),
    sa.Column("checksum", sa.String(32)),
    sa.Column("owner", sa.String(255)),
    sa.Column("min_disk", sa.Integer, nullable=False, default=0),
    sa.Column("min_ram", sa.Integer, nullable=False, default=0),
    sa.Column("protected", sa.Boolean, nullable=False, default=False, server_default=sql.false()),
    sa.Column("virtual_size", _big()),
    sa.Column(
        "visibility",
        sa.Enum("private", "public", "shared", "community", name="image_visibility"),
        nullable=False,
        server_default="shared",
    ),
    sa.Column("os_hidden", sa.Boolean, nullable=False, default=False, server_default=sql.false()),
    sa.Column("os_hash_algo", sa.String(64)),
    sa.Column("os_hash_value", sa.String(128)),
    sa.Index("checksum_image_idx", "checksum"),
    sa.Index("visibility_image_idx", "visibility"),
    sa.Index("ix_images_deleted", "deleted"),
    sa.Index("owner_image_idx", "owner"),
    sa.Index("created_at_image_idx", "created_at"),
    sa.Index("updated_at_image_idx", "updated_at"),
    sa.Index("os_hidden_image_idx", "os_hidden"),
    sa.Index("os_hash_value_image_idx", "os_hash_value"),
)

image_locations = _table(
    "image_locations",
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    _image_id(),
    sa.Column("value", sa.Text, nullable=False),
    *_stamps(),
    sa.Column("meta_data", JSONText),
    sa.Column("status", sa.String(30), server_default="active", nullable=False),
    sa.Index("ix_image_locations_image_id", "image_id"),
    sa.Index("ix_image_locations_deleted", "deleted"),
)

image_properties = _table(
    "image_properties",
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    _image_id(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("value", sa.Text),
    *_stamps(),
    sa.UniqueConstraint("image_id", "name", name="ix_image_properties_image_id_name"),
    sa.Index("ix_image_properties_image_id", "image_id"),
    sa.Index("ix_image_properties_deleted", "deleted"),
)

image_tags = _table(
    "image_tags",
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    _image_id(),
    sa.Column("value", sa.String(255), nullable=False),
    *_stamps(),
    sa.Index("ix_image_tags_image_id", "image_id"),
    sa.Index("ix_image_tags_image_id_tag_value", "image_id", "value"),
)

image_members = _table(
    "image_members",
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    _image_id(),
    sa.Column("member", sa.String(255), nullable=False),
    sa.Column("can_share", sa.Boolean, nullable=False, default=False),
    *_stamps(),
    sa.Column("status", sa.String(20), nullable=False, server_default="pending"),
    sa.UniqueConstraint("image_id", "member", "deleted_at", name="image_members_image_id_member_deleted_at_key"),
    sa.Index("ix_image_members_deleted", "deleted"),
    sa.Index("ix_image_members_image_id", "image_id"),
    sa.Index("ix_image_members_image_id_member", "image_id", "member"),
)

tasks = _table(
    "tasks",
    sa.Column("id", sa.String(36), primary_key=True, nullable=False),
    sa.Column("type", sa.String(30), nullable=False),
    sa.Column("status", sa.String(30), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=True),
    *_stamps(),
    sa.Column("image_id", sa.String(36), nullable=True),
    sa.Column("request_id", sa.String(64), nullable=True),
    sa.Column("user_id", sa.String(64), nullable=True),
    sa.Index("ix_tasks_type", "type"),
    sa.Index("ix_tasks_status", "status"),
    sa.Index("ix_tasks_owner", "owner"),
    sa.Index("ix_tasks_deleted", "deleted"),
    sa.Index("ix_tasks_image_id", "image_id"),
    sa.Index("ix_tasks_updated_at", "updated_at"),
)

task_info = _table(
    "task_info",
    sa.Column("task_id", sa.String(36), sa.ForeignKey("tasks.id"), primary_key=True, nullable=False),
    sa.Column("input", JSONText),
    sa.Column("result", JSONText),
    sa.Column("message", sa.Text),
)
