"""Whether a run may still go on in this process: a lease that must be renewed, and is never assumed (C25)."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from glance_flows import errors

#: Seconds of a lease that are not relied on, at least: some databases keep whole seconds only.
_SPARE_SECONDS = 1.5


class Lease:
    """The right of one process to work on one run.

    Another process may take a run over once its lease is over, and a process may stand still for minutes without
    knowing. So whoever is about to write asks :meth:`sure`: while the lease is young that costs a look at the clock,
    and afterwards it is renewed first, or found to be lost.

    :param seconds: how long the lease lasts
    :param renew: renews it and tells whether it is still held; raises :class:`errors.DatabaseError` if nobody knows
    :param asked: when the statement was sent that took the run, in monotonic time; the process may have stood still
        right after it
    """

    def __init__(self, seconds: float, renew: Callable[[], bool], asked: float) -> None:
        # What is begun in time must end before others may take over, and their clocks may be a little ahead.
        self._safe = min(seconds * 0.75, seconds - _SPARE_SECONDS)
        self._renew = renew
        self._until = asked + self._safe
        self._lock = threading.Lock()
        self._lost: errors.LockLost | None = None

    @property
    def lost(self) -> errors.LockLost | None:
        """Why this process must leave the run alone; None while it need not."""
        return self._lost

    @property
    def young(self) -> bool:
        """Whether it holds for certain, without asking anybody."""
        return self._lost is None and time.monotonic() <= self._until

    def renewed(self, asked: float) -> None:
        """Note that the lease was renewed by a statement that was sent at ``asked``, in monotonic time."""
        self._until = max(self._until, asked + self._safe)

    def lose(self, why: str) -> None:
        """Note that the lease is lost, for good."""
        self._lost = self._lost or errors.LockLost(why)

    def sure(self) -> None:
        """Make sure that the run is still this process's.

        :raises LockLost: it is not, or nobody can tell
        """
        if self._lost is None and not self.young:
            with self._lock:
                self._make_sure()
        if self._lost is not None:
            raise errors.LockLost(str(self._lost))

    def _make_sure(self) -> None:
        asked = time.monotonic()
        if asked <= self._until or self._lost is not None:
            return
        try:
            with relying_on(None):  # what renews it cannot be done on the strength of it
                held = self._renew()
        except errors.DatabaseError as failure:
            self.lose(f"the lease of the run ran out and could not be renewed: {failure}")
            return
        if held:
            self.renewed(asked)
        else:
            self.lose("the run was taken over by another process.")


_relied_on: ContextVar[Lease | None] = ContextVar("glance_flows_lease", default=None)


@contextlib.contextmanager
def relying_on(lease: Lease | None) -> Iterator[None]:
    """Have everything within the block, on this thread, done on the strength of a lease: :func:`current`."""
    before = _relied_on.set(lease)
    try:
        yield
    finally:
        _relied_on.reset(before)


def current() -> Lease | None:
    """Return the lease on the strength of which this thread works; None where nobody could take its work over."""
    return _relied_on.get()


def sure() -> None:
    """Make sure that what this thread works on is still this process's; see :meth:`Lease.sure`.

    Called right before what cannot be taken back: a task is sure when it begins, but whatever it has asked since may
    have taken longer than a lease lasts.

    :raises LockLost: it is not
    """
    lease = _relied_on.get()
    if lease is not None:
        lease.sure()
