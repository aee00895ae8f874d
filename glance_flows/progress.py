"""How far a run is: bytes, totals and rates of each part, for whoever wants to see (C26)."""

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PartProgress:
    """One part of a run: ``staging`` or the name of a store.

    :param done: bytes done
    :param total: bytes to do, None where that is not known
    :param state: ``running``, ``done``, ``failed`` or ``undone``
    :param seconds: how long it has run, or ran
    """

    part: str
    done: int = 0
    total: int | None = None
    state: str = "running"
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def percent(self) -> int | None:
        """How much is done, in percent; None where the total is not known."""
        if self.total is None:
            return None
        return 100 if self.total == 0 else min(100, self.done * 100 // self.total)

    def to_json(self) -> dict[str, Any]:
        """Return the part as a JSON object."""
        return {**asdict(self), "rate": round(self.rate)}

    def __str__(self) -> str:
        done = f"{self.done // _MIB} MiB"
        if self.total is None:
            return f"{self.part}: {done}"
        return f"{self.part}: {self.percent}% ({done} of {self.total // _MIB} MiB)"


class ProgressBoard:
    """Takes note from the tasks of one run, tells its watchers.

    ``advance`` is called for every chunk: it adds two numbers and wakes nobody up more often than ``interval``.

    :param interval: least seconds between two snapshots for a watcher
    """

    def __init__(self, interval: float = 0.1) -> None:
        self._interval = interval
        self._parts: dict[str, PartProgress] = {}
        self._started: dict[str, float] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._changes = 0
        self._closed = False
        self._told = 0.0

    def begin(self, part: str, total: int | None) -> None:
        """A part starts."""
        with self._changed:
            self._started[part] = time.monotonic()
            self._parts[part] = PartProgress(part, total=total)
            self._tell()

    def advance(self, part: str, count: int) -> None:
        """``count`` more bytes of a part are done."""
        now = time.monotonic()
        with self._changed:
            known = self._parts.get(part)
            if known is None:
                return
            seconds = now - self._started[part]
            self._parts[part] = PartProgress(part, known.done + count, known.total, known.state, seconds)
            self._changes += 1
            if now - self._told >= self._interval:
                self._tell()

    def finish(self, part: str, state: str) -> None:
        """A part ended: ``done``, ``failed`` or ``undone``."""
        with self._changed:
            known = self._parts.get(part, PartProgress(part))
            seconds = time.monotonic() - self._started.get(part, time.monotonic())
            self._parts[part] = replace(known, state=state, seconds=seconds)
            self._tell()

    def close(self) -> None:
        """The run is over: watchers see the last snapshot and end."""
        with self._changed:
            self._closed = True
            self._tell()

    @property
    def parts(self) -> tuple[PartProgress, ...]:
        """A snapshot of every part that has begun."""
        with self._changed:
            return tuple(self._parts.values())

    def watch(self) -> Iterator[tuple[PartProgress, ...]]:
        """Yield a snapshot whenever there is news, until the run is over."""
        seen = -1
        while True:
            with self._changed:
                if self._changes == seen and not self._closed:
                    # Most bytes wake nobody up: what has come since the last that did is seen a little later.
                    self._changed.wait(self._interval)
                    if self._changes == seen and not self._closed:
                        continue
                seen, closed, snapshot = self._changes, self._closed, tuple(self._parts.values())
            yield snapshot
            if closed:
                return

    def message(self) -> str:
        """Return one line for the task row: the parts that are running, or the last that was."""
        parts = self.parts
        running = [part for part in parts if part.state == "running"]
        return ", ".join(str(part) for part in running or parts[-1:])

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._version += 1
        self._changes += 1
        self._changed.notify_all()
