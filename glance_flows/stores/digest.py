"""Digesting a stream as fast as the machine can: each digest on a thread of its own, off the thread that reads."""

import hashlib
import queue
import threading
import zlib
from typing import TYPE_CHECKING, Any

from glance_flows import errors
from glance_flows.images import Contents

if TYPE_CHECKING:
    from glance_flows.stores.inspect import Inspection

#: Up to this size threads cost more than they save.
_SMALL = 1024 * 1024
#: Chunks that may wait for a digest: bounds memory.
_BACKLOG = 3


class _Worker:
    """One digest, fed through a short queue; hashlib lets other threads run while it works."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._queue: queue.Queue[bytes | None] = queue.Queue(_BACKLOG)
        self._thread: threading.Thread | None = None

    def update(self, chunk: bytes, *, threaded: bool) -> None:
        if self._thread is None and not threaded:
            self._digest.update(chunk)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
            self._thread.start()
        self._queue.put(chunk)

    def finish(self) -> str:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        return str(self._digest.hexdigest())

    def _work(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._digest.update(chunk)


class Digester:
    """Computes md5, the named hash, a CRC and the format of a stream.

    Use it as a context manager: its threads end with the block, whatever happens in it.

    :param algorithm: hashlib's name of the hash kept as ``os_hash_value``
    :param inspection: looks into the data too, where it is to be inspected
    :raises BadRequest: there is no such algorithm
    """

    def __init__(self, algorithm: str, inspection: "Inspection | None" = None) -> None:
        self._algorithm = algorithm
        self._inspection = inspection
        self._size = 0
        self._crc = 0
        self._workers = [_Worker(hashlib.md5(usedforsecurity=False)), _Worker(new_hash(algorithm))]

    def __enter__(self) -> "Digester":
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.finish()

    def update(self, chunk: bytes) -> None:
        """Take the next chunk, which must not be changed afterwards."""
        self._size += len(chunk)
        threaded = self._size > _SMALL
        for worker in self._workers:
            worker.update(chunk, threaded=threaded)
        self._crc = zlib.crc32(chunk, self._crc)
        if self._inspection is not None:
            self._inspection.feed(chunk)

    def contents(self) -> Contents:
        """Return what the stream was found to be, once all of it has passed."""
        checksum, hash_value = (worker.finish() for worker in self._workers)
        self._workers = []
        found = self._inspection.verdict() if self._inspection and self._size else None
        return Contents(
            size=self._size,
            checksum=checksum,
            hash_algo=self._algorithm,
            hash_value=hash_value,
            crc32=self._crc,
            format=found.format if found else None,
            virtual_size=found.virtual_size if found else None,
            refused=found.refused if found else None,
        )


def new_hash(algorithm: str) -> Any:
    """Return a new hash object.

    :raises BadRequest: hashlib has no such algorithm
    """
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError as failure:
        raise errors.BadRequest(f"there is no hashing algorithm {algorithm!r}.") from failure
