"""Reading staged bytes for a store: cancellable, with progress, and stoppable from another thread."""

import errno
import os
from collections.abc import Iterator
from typing import Self

from glance_flows import errors
from glance_flows.images import Contents, Staged
from glance_flows.ports import Reading


class StagedReader:
    """A file of staged bytes as the drivers of glance_store read it.

    :param staged: the file and what is in it
    :param reading: whom to tell of progress and whom to ask about cancellation
    :param chunk: how many bytes :meth:`pieces` reads at a time
    """

    def __init__(self, staged: Staged, reading: Reading, chunk: int) -> None:
        self.contents: Contents = staged.contents
        self.position = 0
        self._reading = reading
        self._chunk = chunk
        self._stopped = False
        # A store may keep links; what was staged is a file.
        links = os.O_NOFOLLOW if staged.ours else 0
        try:
            self._descriptor = os.open(staged.path, os.O_RDONLY | os.O_CLOEXEC | links)
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            raise errors.SourceFailed("the bytes to upload are no longer where they were.") from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self.contents.size

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most ``size`` of them; an empty value at the end."""
        self._check()
        wanted = self.contents.size - self.position if size is None or size < 0 else size
        data = os.read(self._descriptor, wanted) if wanted else b""
        self._advance(len(data))
        return data

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces, in one buffer that is used again for the next piece."""
        buffer = memoryview(bytearray(min(self._chunk, max(self.contents.size, 1))))
        while True:
            self._check()
            count = os.readv(self._descriptor, [buffer])
            if not count:
                return
            yield buffer[:count]
            self._advance(count)

    def stop(self) -> None:
        """Make the next read fail: nobody waits for these bytes any more."""
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            raise errors.Cancelled("the upload was given up.")
        self._reading.cancel.check()

    def _advance(self, count: int) -> None:
        self.position += count
        self._reading.progress.advance(self._reading.part, count)
