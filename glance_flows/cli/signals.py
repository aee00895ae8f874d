"""Ctrl-C and SIGTERM: the work in hand is undone, or suspended; then the command ends with 128 + the signal."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The command was told to stop, and nothing is under way any more.

    :param signum: the signal
    :param message: what became of the work, for people
    """

    def __init__(self, signum: int, message: str = "interrupted: nothing was under way.") -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status of a command that a signal ended, as shells count it."""
        return 128 + self.signum


class Abandoned(Interrupted):
    """What is under way did not stop in time: it is left for a resume, and the process is to end at once."""


class Signals:
    """Notes signals: SIGTERM asks to suspend what is under way, a second signal or any other to undo it.

    Outside of :meth:`deferred` the first signal raises :class:`Interrupted` at once. Inside, where work is under way
    that must be ended in order, it is only noted for whoever waits for that work.

    :ivar signum: the signal that counts: the first one, or SIGINT where a second one asked to undo
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._came = threading.Event()
        self._deferred = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for signum in _WATCHED:
            # Whoever started us with a signal ignored (nohup, a shell's background job) means it.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note signals within the block."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Leave signals to whoever else wants them within the block: a manager of processes, say."""
        for signum in self._before:
            signal.signal(signum, signal.SIG_DFL)
        try:
            yield
        finally:
            for signum in self._before:
                signal.signal(signum, self._note)

    def check(self) -> None:
        """Raise :class:`Interrupted` if a signal came: nothing new is begun after one."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    @property
    def undo(self) -> bool:
        """Whether what is under way is to be undone, not only suspended."""
        return self.signum not in (None, signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        """Wait for a signal, at most so long."""
        self._came.wait(seconds)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.undo:
            _say("still undoing; a moment.")
            return
        self.signum = signum if self.signum is None else signal.SIGINT
        self._came.set()
        if not self._deferred:
            raise Interrupted(signum)


def _say(text: str) -> None:
    """Write a line from within a signal handler, where Python's own buffered streams must not be used."""
    with contextlib.suppress(OSError):
        os.write(2, f"glance-flows: {text}\n".encode())
