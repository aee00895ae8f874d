"""Calling a store that may never answer: the caller waits on its own terms and leaves a call that hangs behind."""

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from glance_flows import errors
from glance_flows.ports import Cancel

T = TypeVar("T")
LOG = logging.getLogger(__name__)
#: How often whoever waits for a call looks at it.
POLL_SECONDS = 0.1
_KEPT_IDLE = 32


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: seconds without progress, and seconds for a call to end once it was told to stop."""

    stall: float
    grace: float


class Worker:
    """A thread that runs one call after the other: to start one costs several times what deleting a small file does.

    One that hangs is never idle, so nobody is given it.
    """

    _idle: ClassVar[deque["Worker"]] = deque()

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def run(cls, what: str, call: Callable[[], None]) -> None:
        """Run a call on an idle thread, or on a new one."""
        try:
            worker = cls._idle.pop()
        except IndexError:
            worker = cls()
        worker._inbox.put((what, call))

    def _work(self) -> None:
        while True:
            self._thread.name, call = self._inbox.get()
            call()
            del call  # what it refers to is not to be kept while there is nothing to do
            if len(self._idle) >= _KEPT_IDLE:
                return
            self._idle.append(self)


# A child has the list, but not the threads.
os.register_at_fork(after_in_child=Worker._idle.clear)


class BoundedCall(Generic[T]):
    """Runs one call on a thread that is nobody else's meanwhile.

    :param call: what to run
    :param position: tells how far the call is, in any unit; a call whose position stands still is stuck
    :param stop: tells the call to end, where it can be told
    :param late: handles the result of a call that succeeded after it was given up
    """

    def __init__(
        self,
        call: Callable[[], T],
        position: Callable[[], int] = lambda: 0,
        stop: Callable[[], None] = lambda: None,
        late: Callable[[T], None] = lambda result: None,
    ) -> None:
        self._call, self._position, self._stop, self._late = call, position, stop, late
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._given_up = False
        self._outcome: tuple[T | None, BaseException | None] = (None, None)

    def wait(self, what: str, patience: Patience, cancel: Cancel | None = None) -> T:
        """Start the call and return its result.

        :param what: names the call in an error, as in "the upload to ceph"
        :raises Cancelled: the run is to stop
        :raises StoreTimeout: the call made no progress for too long
        """
        Worker.run(what, self._run)
        at, since = self._position(), time.monotonic()
        given_up: errors.GlanceFlowsError | None = None
        while not self._done.wait(POLL_SECONDS):
            if self._position() != at:
                at, since = self._position(), time.monotonic()
            try:
                if cancel is not None:
                    cancel.check()
                if time.monotonic() - since > patience.stall:
                    raise errors.StoreTimeout(f"{what} made no progress for {patience.stall:g} seconds.")
            except errors.GlanceFlowsError as reason:
                self._give_up(what, patience, reason)
                given_up = reason
                break
        result, failure = self._outcome
        if failure is not None:
            # A call that was told to stop says so; why it was told is what happened.
            raise given_up or failure
        return result  # type: ignore[return-value]

    def _give_up(self, what: str, patience: Patience, reason: errors.GlanceFlowsError) -> None:
        self._stop()
        if self._done.wait(patience.grace):
            return
        with self._lock:
            if self._done.is_set():
                return
            self._given_up = True
        LOG.warning("%s does not answer and is left to itself: %s", what, reason)
        raise reason

    def _run(self) -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (self._call(), None)
        except BaseException as failure:
            outcome = (None, failure)
        with self._lock:
            self._outcome = outcome
            self._done.set()
            late = self._given_up
        if late and outcome[1] is None:
            self._late(outcome[0])  # type: ignore[arg-type]
