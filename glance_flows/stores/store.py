"""One store: a driver of glance_store behind the contract that flows use, its errors told in our words."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

import glance_store
from glance_store import capabilities, location

from glance_flows import errors, lease
from glance_flows.images import Staged
from glance_flows.ports import Reading, Stored
from glance_flows.stores.ahead import Ahead, close_quietly
from glance_flows.stores.bounded import BoundedCall, Patience
from glance_flows.stores.crew import bounded
from glance_flows.stores.files import FileDriver
from glance_flows.stores.inside import Inside
from glance_flows.stores.reader import StagedReader

LOG = logging.getLogger(__name__)
#: Types whose driver puts an image under its id, right below the prefix that it tells.
_PREFIXED = frozenset({"s3"})


class DriverStore:
    """A store that a driver of glance_store serves.

    :param name: as in ``enabled_backends``
    :param kind: the type there
    :param driver: configured instance of the driver
    :param patience: how long calls may stand still
    :param chunk: bytes read at a time
    :param trouble: why the store takes no images for now; what it has can perhaps be read
    """

    def __init__(
        self, name: str, kind: str, driver: Any, patience: Patience, chunk: int, trouble: str | None = None
    ) -> None:
        self.trouble = trouble
        self.name = name
        self.kind = kind
        self._driver = driver
        self._patience = patience
        self._chunk = chunk

    @property
    def weight(self) -> int:
        """The operator's preference among stores; higher is read first."""
        return int(self._driver.weight)

    @property
    def read_only(self) -> bool:
        """Whether the store takes no images."""
        return self.trouble is None and not self._driver.is_capable(capabilities.BitMasks.WRITE_ACCESS)

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes of the URLs that this store understands."""
        return tuple(self._driver.get_schemes())

    def owns(self, url: str) -> bool:
        """Whether a URL lies below the place where this store puts its images."""
        prefix = self._driver.url_prefix
        return bool(prefix) and url.startswith(prefix)

    def add(self, image_id: str, staged: Staged, reading: Reading) -> Stored:
        """Upload staged bytes and return what the store says it took.

        :raises StoreDuplicate: the store has an object of this name
        :raises StoreFull, StoreTimeout, StoreError: it did not take them; what it had written is removed
        :raises Cancelled: the run is to stop
        """
        if self.trouble is not None:
            raise errors.StoreUnavailable(f"the store {self.name} takes no images for now: {self.trouble}.")
        contents = staged.contents
        with StagedReader(staged, reading, self._chunk) as reader:
            call = BoundedCall(
                lambda: self._driver.add(image_id, reader, contents.size, contents.hash_algo),
                position=lambda: reader.position,
                stop=reader.stop,
                late=functools.partial(self._too_late, lease.current()),
            )
            with self._told(f"cannot upload to the store {self.name}"):
                stored = call.wait(f"the upload to the store {self.name}", self._patience, reading.cancel)
        url, size, checksum, hash_value, metadata = stored
        return Stored(url, size, checksum, hash_value, {**(metadata or {}), "store": self.name})

    def _too_late(self, held: lease.Lease | None, stored: tuple[Any, ...]) -> None:
        """Take back what a store took after all when nobody waited for it any more.

        :param held: on the strength of which it was sent; whoever took the run over may have put the same object there
        """
        if held is not None and held.lost is not None:
            LOG.warning("What the store %s took after a run was lost is left to whoever has the run now", self.name)
            return
        self.delete(stored[0])

    @contextlib.contextmanager
    def open(self, url: str) -> Iterator[tuple[Iterator[bytes], int | None]]:
        """Read an object: its chunks and its size in bytes, if that is known.

        Only what the store does wrong is told as its failure, not what becomes of the bytes.

        :raises StoreDataMissing: the store does not have it
        :raises StoreTimeout: it does not answer, or gives no chunk for too long
        :raises StoreError: it cannot be read
        """
        attempt, what = f"cannot read from the store {self.name}", f"the reading from the store {self.name}"
        with self._told(attempt):
            call = BoundedCall(
                lambda: self._driver.get(self._location(url)), late=lambda found: close_quietly(found[0])
            )
            chunks, size = call.wait(what, self._patience)
        with contextlib.closing(Ahead(chunks, what, self._patience.stall, lambda: self._told(attempt))) as ahead:
            yield ahead, int(size) if size else None

    def local_path(self, url: str) -> str | None:
        """Return the path of the file that holds an object, where the store keeps files on this host."""
        if not isinstance(self._driver, FileDriver):
            return None
        with self._told(f"cannot read from the store {self.name}"):
            return str(self._location(url).store_location.path)

    def size(self, url: str) -> int:
        """Return the size of an object in bytes.

        :raises StoreDataMissing: the store does not have it
        :raises StoreError: it cannot be asked
        """
        with self._told(f"cannot look into the store {self.name}"):
            look = f"the look into the store {self.name}"
            return bounded(lambda: int(self._driver.get_size(self._location(url))), look, self._patience)

    def delete(self, url: str) -> None:
        """Delete an object.

        :raises StoreDataMissing: the store does not have it
        :raises StoreInUse: the store refuses, because something still uses it
        :raises StoreError: it was not deleted
        """
        with self._told(f"cannot delete from the store {self.name}"):
            bounded(
                lambda: self._driver.delete(self._location(url)),
                f"the deletion from the store {self.name}",
                self._patience,
            )

    @property
    def inside(self) -> Inside | None:
        """What is in the store, where that can be listed: of files and of S3 it can."""
        return Inside(self.name, self._driver, self._told) if hasattr(self._driver, "listing") else None

    def abandon(self, image_id: str) -> None:
        """Give up uploads of an image that were begun and never ended, and what the store keeps of them.

        :raises StoreError: the store cannot be asked
        """
        abort = getattr(self._driver, "abort_uploads", None)
        if abort is not None:
            with self._told(f"cannot clear up in the store {self.name}"):
                bounded(lambda: abort(image_id), f"the clearing up in the store {self.name}", self._patience)

    def url_of(self, image_id: str) -> str | None:
        """Return where the store has, or would put, an image; None if that cannot be known, or can be nowhere.

        :raises StoreUnavailable: it could be known if the store were in order
        """
        if self.trouble is not None and (isinstance(self._driver, FileDriver) or self.kind in _PREFIXED):
            raise errors.StoreUnavailable(f"cannot look into the store {self.name}: {self.trouble}.")
        if isinstance(self._driver, FileDriver):
            paths = [path for path in self._driver.candidates(image_id) if _may_be(path)]
            if not paths:
                return None
            there = [path for path in paths if os.path.exists(path)]
            return f"file://{(there or paths)[0]}"
        if self.kind in _PREFIXED and self._driver.url_prefix:
            return f"{self._driver.url_prefix}/{image_id}"
        return None

    def _location(self, url: str) -> location.Location:
        scheme = url.partition(":")[0]
        kind = self._driver.get_store_location_class()
        return location.Location(scheme, kind, self._driver.conf, uri=url, backend=self.name)

    @contextlib.contextmanager
    def _told(self, attempt: str) -> Iterator[None]:
        """Raise the driver's errors as ours, saying what was attempted."""
        try:
            yield
        except errors.GlanceFlowsError:
            raise
        except glance_store.NotFound as failure:
            raise errors.StoreDataMissing(f"{attempt}: it does not have the data.") from failure
        except glance_store.Duplicate as failure:
            raise errors.StoreDuplicate(f"{attempt}: it already has an object of this name.") from failure
        except glance_store.StorageFull as failure:
            raise errors.StoreFull(f"{attempt}: it is full.") from failure
        except (glance_store.InUseByStore, glance_store.HasSnapshot) as failure:
            raise errors.StoreInUse(f"{attempt}: the data is in use.") from failure
        except OSError as failure:
            where = f": {failure.filename}" if failure.filename else ""
            raise errors.StoreError(f"{attempt}: {failure.strerror or failure}{where}.") from failure
        except Exception as failure:
            text = getattr(failure, "msg", None) or str(failure) or type(failure).__name__
            raise errors.StoreError(f"{attempt}: {str(text).strip()}") from failure


def _may_be(path: str) -> bool:
    """Tell whether there can be a file of this path: not below something that is no directory."""
    folder = os.path.dirname(path)
    return os.path.isdir(folder) or not os.path.lexists(folder)
