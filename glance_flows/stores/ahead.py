"""Reading from a store that may never answer: a thread reads ahead, and whoever waits for it waits on its own terms."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Self

from glance_flows import errors

#: Chunks that are held in memory; more would only hide for a while that one of the two sides is slow.
_HELD = 4


class Ahead(Iterator[bytes]):
    """The chunks of an object, as a driver gives them, each within a time; close it when no more are wanted.

    The thread begins with the first chunk that is asked for. One that hangs is left behind, and closes what it read
    from if the store ever answers.

    :param chunks: from the driver; closed on the thread that reads them
    :param what: names the reading in an error, as in "the reading from the store ceph"
    :param stall: seconds within which the next chunk must come
    :param told: raises the driver's errors as ours
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        what: str,
        stall: float,
        told: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._chunks, self._what, self._stall, self._told = chunks, what, stall, told
        self._come: queue.Queue[tuple[bytes | None, BaseException | None]] = queue.Queue(_HELD)
        self._over = threading.Event()
        self._begun = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next chunk.

        :raises StoreTimeout: it does not come
        :raises SourceFailed: the reading was stopped
        :raises StoreError: what the store does wrong
        """
        if not self._begun:
            self._begun = True
            threading.Thread(target=self._read, name=self._what, daemon=True).start()
        with self._told():
            chunk = self._next()
        if chunk is None:
            raise StopIteration
        return chunk

    def stop(self) -> None:
        """Make whoever waits for a chunk fail at once; from another thread."""
        self._over.set()
        with contextlib.suppress(queue.Full):  # then nobody waits
            self._come.put_nowait((None, None))

    def close(self) -> None:
        """Let the thread end, if it can."""
        self._over.set()
        if not self._begun:
            close_quietly(self._chunks)
        with contextlib.suppress(queue.Empty):
            while True:
                self._come.get_nowait()

    def _next(self) -> bytes | None:
        try:
            chunk, failure = self._come.get(timeout=self._stall)
        except queue.Empty:
            raise errors.StoreTimeout(f"{self._what} made no progress for {self._stall:g} seconds.") from None
        if self._over.is_set():
            raise errors.SourceFailed(f"{self._what} was given up.")
        if failure is not None:
            raise failure
        return chunk

    def _read(self) -> None:
        try:
            for chunk in self._chunks:
                if self._over.is_set():
                    return
                self._come.put((chunk, None))
            self._come.put((None, None))
        except BaseException as failure:
            if not self._over.is_set():
                self._come.put((None, failure))
        finally:
            close_quietly(self._chunks)


def close_quietly(chunks: Iterable[bytes]) -> None:
    """Close what a driver reads from, if that can be closed."""
    close = getattr(chunks, "close", None)
    if close is not None:
        with contextlib.suppress(Exception):  # nothing is wanted of it any more
            close()
