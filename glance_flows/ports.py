"""What a task may be handed: the services' contracts, as far as tasks use them.

Tasks never import a service; they name it as a parameter of ``execute`` or ``revert`` and are given one that fulfils
the contract here (law 2). ``db`` is :class:`glance_flows.db.Database` itself, for the library's own tasks only: plugins
work with the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from glance_flows.images import Contents, Location, Staged


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says it took: where, how many bytes, and their digests (None where the driver computed none).

    Like a location's, the URL may hold a credential and is never printed (F2).
    """

    url: str = field(repr=False)
    size: int
    checksum: str | None
    hash_value: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a store lists it: its name, its size in bytes, and when it was last changed (UTC)."""

    name: str
    url: str = field(repr=False)
    size: int
    modified: datetime | None


class Cancel(Protocol):
    """Asks whether the run is to stop."""

    def check(self) -> None:
        """Raise :class:`glance_flows.errors.Cancelled` if so."""

    def calling(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Call ``stop``, from another thread, when the run is to stop while the block lasts."""


class Progress(Protocol):
    """Takes note of how far the run is."""

    def begin(self, part: str, total: int | None) -> None:
        """A part (``staging`` or the name of a store) starts, of ``total`` bytes if that is known."""

    def advance(self, part: str, count: int) -> None:
        """``count`` more bytes of a part are done; cheap enough to call for every chunk."""

    def finish(self, part: str, state: str) -> None:
        """A part ended: ``done``, ``failed`` or ``undone``."""


class Staging(Protocol):
    """The staging area: where bytes wait between their source and the stores."""

    def take(
        self,
        image_id: str,
        chunks: Iterable[bytes],
        *,
        algorithm: str,
        disk_format: str | None,
        limit: int | None = None,
    ) -> Staged:
        """Write ``chunks`` to the image's file, digesting and inspecting them on the way (C24)."""

    def look(
        self, image_id: str, *, algorithm: str, disk_format: str | None, cancel: Cancel, progress: Progress
    ) -> Staged:
        """Digest and inspect bytes that somebody else has staged."""

    def remove(self, image_id: str) -> bool:
        """Remove the image's file; tell whether there was one."""


class Store(Protocol):
    """One store."""

    name: str

    def add(self, image_id: str, staged: Staged, reading: "Reading") -> Stored:
        """Upload staged bytes."""

    def local_path(self, url: str) -> str | None:
        """The file that holds an object, where the store keeps files on this host."""

    def open(self, url: str) -> AbstractContextManager[tuple[Iterator[bytes], int | None]]:
        """Read an object: its chunks and its size in bytes, if that is known.

        Where the chunks have a method ``stop`` it makes whoever waits for one fail, and is called from another thread.
        """

    def delete(self, url: str) -> None:
        """Delete an object."""

    def abandon(self, image_id: str) -> None:
        """Give up uploads of an image that were begun and never ended, and what the store keeps of them."""

    def url_of(self, image_id: str) -> str | None:
        """Where the store would put an image, if that can be known beforehand."""


class Stores(Protocol):
    """The stores of this host."""

    default: str

    def get(self, name: str) -> Store:
        """Return a store by its name."""

    def holding(self, location: Location) -> Store:
        """Return the store that has a location's data (S10)."""


class Notifier(Protocol):
    """Tells the world."""

    def emit(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send one notification; never fails the flow."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How staged bytes are read for an upload: who is told of progress, and who may stop it."""

    part: str
    cancel: Cancel
    progress: Progress


__all__ = ["Cancel", "Contents", "Listed", "Notifier", "Progress", "Reading", "Staging", "Store", "Stored", "Stores"]
