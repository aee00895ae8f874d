"""Many short calls to stores: a few threads make them one after the other, and each call is watched.

To hand every call to a thread of its own, as :class:`glance_flows.stores.bounded.BoundedCall` does, takes longer than
deleting a small file. Here a thread works through a queue and makes its calls itself; where one stands still, the whole
thread is left behind and another takes its place.
"""

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from glance_flows import errors
from glance_flows.stores.bounded import POLL_SECONDS, BoundedCall, Patience, Worker

T = TypeVar("T")
R = TypeVar("R")
LOG = logging.getLogger(__name__)
_HERE = threading.local()


def bounded(call: Callable[[], R], what: str, patience: Patience) -> R:
    """Make a call to a store that can neither be stopped nor tell how far it is, and return its result.

    On a thread of a crew the call is made right here, and the crew watches it; elsewhere another thread makes it.

    :param what: names the call in an error, as in "the deletion from the store ceph"
    :raises StoreTimeout: it made no progress for too long
    """
    hand: _Hand[Any] | None = getattr(_HERE, "hand", None)
    if hand is None:
        return BoundedCall(call).wait(what, patience)
    return hand.watched(call, what, patience)


class _LeftBehindError(BaseException):
    """Ends a thread whose call was given up before it ended: nobody waits for what comes of it.

    No ``Exception``: what is done about a store's failures is done already.
    """


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way."""

    what: str
    patience: Patience
    since: float


class _Hand(Generic[T]):
    """One thread of a crew: what it has in hand, and the call that it is making."""

    def __init__(self) -> None:
        self.thing: T | None = None
        self._call: _Call | None = None
        self._lock = threading.Lock()
        self._given_up = False

    def watched(self, call: Callable[[], R], what: str, patience: Patience) -> R:
        """Make a call on this very thread."""
        self._call = _Call(what, patience, time.monotonic())
        try:
            return call()
        finally:
            with self._lock:
                self._call = None
                if self._given_up:
                    raise _LeftBehindError

    def stuck(self) -> errors.StoreTimeout | None:
        """Give the thread up if its call stands still, and return the error to tell of it."""
        call = self._call
        if call is None or time.monotonic() - call.since <= call.patience.stall:
            return None
        with self._lock:
            if self._call is not call:
                return None
            self._given_up = True
        reason = errors.StoreTimeout(f"{call.what} made no progress for {call.patience.stall:g} seconds.")
        LOG.warning("%s does not answer and is left to itself: %s", call.what, reason)
        return reason


class Crew(Generic[T]):
    """Threads that work through what they are given; used as a context manager, which waits for them at its end.

    :param act: does one thing, and tells whether whoever waits is to look at what is done so far; its calls to stores
        are watched. Where one of them is given up, nothing of ``act`` behind that call happens
    :param stuck: told of a thing whose call was given up, and why; returns what is left of it to be done, if anything.
        Called on the thread that waits
    :param size: how many things are done at once
    """

    def __init__(
        self,
        act: Callable[[T], bool],
        stuck: Callable[[T, errors.StoreTimeout], T | None],
        size: int,
    ) -> None:
        self._act = act
        self._stuck = stuck
        self._size = size
        self._queue: deque[T] = deque()
        self._lock = threading.Lock()
        self._hands: set[_Hand[T]] = set()
        self._look = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, failure: BaseException | None, *rest: object) -> None:
        """Wait for the end; after an error only for what is in hand.

        :raises Exception: see :meth:`wait`
        """
        self._failure = self._failure or failure
        while self._hands:
            self._wait()
        if failure is None and self._failure is not None:
            raise self._failure

    def give(self, things: Iterable[T]) -> None:
        """Have more things done; returns at once."""
        with self._lock:
            self._queue.extend(things)
            hands: list[_Hand[T]] = [_Hand() for _ in range(min(self._size - len(self._hands), len(self._queue)))]
            self._hands.update(hands)
        for hand in hands:
            Worker.run("crew", functools.partial(self._toil, hand))

    def wait(self) -> bool:
        """Wait for a while; tell whether everything is done.

        :raises Exception: what ``act`` raised; then nothing more is begun
        """
        if self._hands:
            self._wait()
        if self._failure is not None:
            raise self._failure
        return not self._hands

    def _wait(self) -> None:
        self._look.wait(POLL_SECONDS)
        self._look.clear()
        for hand in list(self._hands):
            reason = hand.stuck()
            if reason is not None:
                rest = self._stuck(hand.thing, reason)  # type: ignore[arg-type]
                self._dismiss(hand)
                self.give(() if rest is None else (rest,))

    def _dismiss(self, hand: _Hand[T]) -> None:
        with self._lock:
            self._hands.discard(hand)
        self._look.set()

    def _toil(self, hand: _Hand[T]) -> None:
        _HERE.hand = hand
        try:
            while self._take(hand):
                if self._act(hand.thing):  # type: ignore[arg-type]
                    self._look.set()
        except _LeftBehindError:
            LOG.debug("A call that was given up has ended after all")
        except BaseException as failure:  # handed to the thread that waits
            self._failure = failure
        finally:
            del _HERE.hand
        self._dismiss(hand)

    def _take(self, hand: _Hand[T]) -> bool:
        """Take the next thing in hand; where there is none the hand is one no longer, so that others are engaged."""
        with self._lock:
            if not self._queue or self._failure is not None:
                self._hands.discard(hand)
                return False
            hand.thing = self._queue.popleft()
            return True
