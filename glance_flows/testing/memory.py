"""A store in memory that keeps the contract of :class:`glance_flows.ports.Store`, and fails when a test tells it to."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator

from glance_flows import errors
from glance_flows.images import Staged
from glance_flows.ports import Reading, Stored
from glance_flows.stores import DriverStore, Stores
from glance_flows.stores.reader import StagedReader


class MemoryStore:
    """Objects in a dictionary.

    :param name: of the store
    :ivar objects: bytes by image id
    :ivar fail_add: raised by the next uploads, after ``fail_after`` bytes
    :ivar fail_delete: raised by deletions
    :ivar corrupt: whether what is taken differs from what was sent
    :ivar hold: while this event is not set, uploads stand still before their first byte
    """

    def __init__(self, name: str, weight: int = 0) -> None:
        self.name = name
        self.kind = "memory"
        self.weight = weight
        self.read_only = False
        self.trouble: str | None = None
        self.schemes = (f"memory-{name}",)
        self.objects: dict[str, bytes] = {}
        self.fail_add: errors.GlanceFlowsError | None = None
        self.fail_after = 0
        self.fail_delete: errors.GlanceFlowsError | None = None
        self.corrupt = False
        self.hold = threading.Event()
        self.hold.set()
        self.started = threading.Event()

    def owns(self, url: str) -> bool:
        """Whether the URL is one of this store."""
        return url.startswith(f"memory-{self.name}:")

    def add(self, image_id: str, staged: Staged, reading: Reading) -> Stored:
        """Upload staged bytes."""
        if image_id in self.objects:
            raise errors.StoreDuplicate(f"the store {self.name} has {image_id} already.")
        data = b""
        with StagedReader(staged, reading, 64 * 1024) as reader:
            self.started.set()
            while not self.hold.wait(0.01):
                reading.cancel.check()
            while chunk := reader.read(64 * 1024):
                data += chunk
                if self.fail_add is not None and len(data) >= self.fail_after:
                    raise self.fail_add
        if self.fail_add is not None:
            raise self.fail_add
        if self.corrupt:
            data = b"?" + data[1:]
        self.objects[image_id] = data
        digest = hashlib.new(staged.contents.hash_algo, data).hexdigest()
        checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Stored(str(self.url_of(image_id)), len(data), checksum, digest, {"store": self.name})

    def local_path(self, url: str) -> str | None:
        """Return None: nothing lies in a file."""
        return None

    @contextlib.contextmanager
    def open(self, url: str) -> Iterator[tuple[Iterator[bytes], int | None]]:
        """Read an object."""
        data = self.objects.get(self._key(url))
        if data is None:
            raise errors.StoreDataMissing(f"the store {self.name} does not have {self._key(url)}.")
        yield iter([data[at : at + 65536] for at in range(0, len(data), 65536)]), len(data)

    def size(self, url: str) -> int:
        """Return the size of an object in bytes."""
        if self._key(url) not in self.objects:
            raise errors.StoreDataMissing(f"the store {self.name} does not have {self._key(url)}.")
        return len(self.objects[self._key(url)])

    def delete(self, url: str) -> None:
        """Delete an object."""
        if self.fail_delete is not None:
            raise self.fail_delete
        if self.objects.pop(self._key(url), None) is None:
            raise errors.StoreDataMissing(f"the store {self.name} does not have {self._key(url)}.")

    #: Like most stores, it cannot be listed.
    inside = None

    def abandon(self, image_id: str) -> None:
        """Do nothing: an upload appears when it is whole."""

    def url_of(self, image_id: str) -> str | None:
        """Where an image is, or would be."""
        return f"memory-{self.name}://{image_id}"

    @staticmethod
    def _key(url: str) -> str:
        return url.partition("://")[2]


class MemoryStores(Stores):
    """Stores in memory, by their names; the first is the default.

    >>> MemoryStores("fast", "cheap").names
    ['fast', 'cheap']
    """

    def __init__(self, *names: str) -> None:
        self.by_name = {name: MemoryStore(name) for name in names}
        stores: dict[str, DriverStore] = dict(self.by_name)  # type: ignore[arg-type]
        super().__init__(stores, names[0])
