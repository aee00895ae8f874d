"""Frozen values: an image and its parts as the database held them at one moment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from glance_flows import states


@dataclass(frozen=True, slots=True)
class Location:
    """One place where an image's bytes are: a row of ``image_locations``, its URL decrypted.

    The URL of some stores holds a credential: it is never printed, logged or kept as a fact of a flow (F2).
    """

    id: int
    url: str = field(repr=False)
    metadata: Mapping[str, Any]
    status: str

    @property
    def store(self) -> str | None:
        """The name of the store that has the bytes, where the row tells."""
        name = self.metadata.get("store")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Member:
    """A project an image is shared with."""

    project: str
    status: str


@dataclass(frozen=True, slots=True)
class Image:
    """A row of ``images`` with its live locations, properties, tags and members; sizes are in bytes."""

    id: str
    status: str
    name: str | None = None
    owner: str | None = None
    visibility: str = "shared"
    protected: bool = False
    deleted: bool = False
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    locations: tuple[Location, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

    @property
    def stores(self) -> list[str]:
        """The names of the stores that hold the image's bytes, in the order they were recorded."""
        return [loc.store for loc in self.locations if loc.store and loc.status == states.ACTIVE]

    @property
    def gone(self) -> bool:
        """Whether the image answers as deleted (C3)."""
        return self.deleted or self.status in states.GONE


@dataclass(frozen=True, slots=True)
class Contents:
    """What a stream of bytes was found to be: size in bytes and digests in hexadecimal.

    ``crc32`` ties a later copy to the digests without computing them again: bytes that have this CRC on the way into
    a store are the bytes that were digested (C21).
    """

    size: int
    checksum: str
    hash_algo: str
    hash_value: str
    crc32: int
    format: str | None = None
    virtual_size: int | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes ready to be uploaded: the file they are in, and what they were found to be.

    ``ours`` tells whether the file lies in the staging area (and goes when the flow is done) or is a store's own file
    read in place.
    """

    path: str
    contents: Contents
    ours: bool
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fact that a flow keeps; :meth:`from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, fact: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` made."""
        return cls(**{**fact, "contents": Contents(**fact["contents"])})
