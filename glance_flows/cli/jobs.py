"""Work outside of flows that can be watched and stopped like a run: moving bytes between a user and an image."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from glance_flows import errors
from glance_flows.progress import ProgressBoard
from glance_flows.task import CancelToken, Leftovers


class Work(Protocol):
    """What :func:`glance_flows.cli.watch.follow` follows: a :class:`glance_flows.run.Run` or a :class:`Job`."""

    board: ProgressBoard
    leftovers: Leftovers
    id: str

    @property
    def suspendable(self) -> bool:
        """Whether it can be suspended, to be resumed by another process."""

    @property
    def error(self) -> BaseException | None:
        """Why it failed."""

    def cancel(self, reason: str = ...) -> None:
        """Ask it to stop and undo what it did."""

    def suspend(self) -> None:
        """Ask it to stop where it is."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; tell whether it is."""

    def result(self) -> Any:
        """Return what it produced, or raise what failed."""


class Job:
    """A function on a thread of its own.

    :param function: called with a token to poll and a board to tell of progress
    :param grace: seconds after which a job that was cancelled and does not stop is left to itself; None waits for it
    """

    id = ""
    suspendable = False

    def __init__(self, function: Callable[[CancelToken, ProgressBoard], Any], grace: float | None = None) -> None:
        self.board = ProgressBoard()
        self.leftovers = Leftovers()
        self._function = function
        self._grace = grace
        self._token = CancelToken()
        self._done = threading.Event()
        self._deadline: float | None = None
        self._outcome: tuple[Any, BaseException | None] = (None, None)
        threading.Thread(target=self._work, name="job", daemon=True).start()

    @property
    def error(self) -> BaseException | None:
        """Why it failed; None while it runs and when it succeeded."""
        return self._outcome[1]

    def cancel(self, reason: str = "it was cancelled.") -> None:
        """Ask the function to stop."""
        self._token.set(errors.Cancelled(reason))
        if self._grace is not None:
            self._deadline = time.monotonic() + self._grace

    def suspend(self) -> None:
        """Do nothing: what a function has begun cannot be resumed."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the function to end; one that outlives its grace counts as ended."""
        if self._done.wait(timeout):
            return True
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        self._outcome = (None, self._token.reason)
        return True

    def result(self) -> Any:
        """Return what the function returned, or raise what it raised."""
        self.wait()
        if self._outcome[1] is not None:
            raise self._outcome[1]
        return self._outcome[0]

    def _work(self) -> None:
        try:
            self._outcome = (self._function(self._token, self.board), None)
        except BaseException as failure:  # handed to the thread that waits
            self._outcome = (None, failure)
        self.board.close()
        self._done.set()
