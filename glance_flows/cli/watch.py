"""Showing how far a run is: bars on a terminal, a line now and then elsewhere, always on standard error (C26)."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from rich import console as rich_console
from rich import progress as rich_progress

from glance_flows import errors
from glance_flows.cli import told
from glance_flows.cli.jobs import Work
from glance_flows.cli.signals import Abandoned, Interrupted, Signals
from glance_flows.progress import PartProgress

_LOOK_SECONDS = 0.1
_LINE_SECONDS = 5.0
_MIB = 1024 * 1024


class Display(Protocol):
    """Shows snapshots of the parts of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def update(self, parts: Sequence[PartProgress]) -> None:
        """Show a snapshot."""

    def say(self, text: str) -> None:
        """Show a line of text."""


def follow(work: Work, what: str, display: Display, signals: Signals, abandon: Callable[[], bool] | None = None) -> Any:
    """Wait for work, show how far it is, and return its result; signals have it suspended, or undone.

    :param what: names the work in a message, as in "the import"
    :param abandon: called while the work is to be suspended; true when it has had time enough and was given up
    :raises Interrupted: a signal stopped it: it is undone, or suspended
    :raises Abandoned: it did not stop in time and is left to a resume
    :raises GlanceFlowsError: what failed, after everything was put back
    """
    asked = ""
    with signals.deferred():
        with display:
            while not work.wait(_LOOK_SECONDS):
                _show(display, work)
                wanted = _wanted(work, signals)
                if wanted and wanted != asked:
                    _ask(work, what, display, wanted)
                    asked = wanted
                if asked == "suspend" and abandon is not None and abandon():
                    raise Abandoned(signal.SIGTERM, f"{what} did not stop in time; {_again(work)}")
            _show(display, work)
        if signals.signum is None:
            return work.result()
        if isinstance(work.error, errors.Suspended):
            raise Interrupted(signals.signum, f"{what} is suspended; {_again(work)}") from work.error
        if work.error is not None:
            raise Interrupted(signals.signum, _undone(work, what)) from work.error
        if asked:
            display.say(f"the signal came too late to stop {what}: it is done")
        return work.result()


def _wanted(work: Work, signals: Signals) -> str:
    if signals.signum is None:
        return ""
    return "undo" if signals.undo or not work.suspendable else "suspend"


def _ask(work: Work, what: str, display: Display, wanted: str) -> None:
    if wanted == "undo":
        display.say(f"stopping {what} and undoing what it did")
        work.cancel(f"{what} was interrupted.")
        return
    display.say(f"suspending {what} after the tasks in hand; a second signal has it undone")
    work.suspend()


def _again(work: Work) -> str:
    return f"go on with: glance-flows run resume {work.id}"


def choose(quiet: bool) -> Display:
    """Return the display that suits: none, bars on a terminal, or lines."""
    if quiet:
        return Silence()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bars()
    return Lines()


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def update(self, parts: Sequence[PartProgress]) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


class Lines(Silence):
    """One line when a part starts and ends, and at most every five seconds between."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._told = time.monotonic()

    def update(self, parts: Sequence[PartProgress]) -> None:
        """Write what is new."""
        for part in parts:
            known = self._states.get(part.part)
            if known is None:
                self.say(f"{part.part}: started{_of(part)}")
            if known != part.state and part.state != "running":
                self.say(ended(part))
            self._states[part.part] = part.state
        if time.monotonic() - self._told >= _LINE_SECONDS:
            for part in parts:
                if part.state == "running":
                    self.say(f"{part}, {part.rate / _MIB:.1f} MiB/s")

    def say(self, text: str) -> None:
        """Write a line."""
        self._told = time.monotonic()
        told.say(text)


class Bars:
    """One bar a part."""

    def __init__(self) -> None:
        self._bars: dict[str, rich_progress.TaskID] = {}
        self._progress = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.DownloadColumn(binary_units=True),
            rich_progress.TransferSpeedColumn(),
            rich_progress.TextColumn("{task.fields[state]}", markup=False),
            console=rich_console.Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def update(self, parts: Sequence[PartProgress]) -> None:
        """Move the bars."""
        for part in parts:
            bar = self._bars.get(part.part)
            if bar is None:
                bar = self._bars[part.part] = self._progress.add_task(part.part, state="")
            total = part.done if part.state == "done" and part.total is None else part.total
            state = "" if part.state == "running" else part.state
            self._progress.update(bar, completed=part.done, total=total, state=state)

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)


def ended(part: PartProgress) -> str:
    """Return one line about a part that is over."""
    size = f"{part.done / _MIB:.1f} MiB"
    if part.state != "done":
        return f"{part.part}: {part.state} after {size}"
    return f"{part.part}: done, {size} in {part.seconds:.1f} s ({part.rate / _MIB:.1f} MiB/s)"


def _show(display: Display, work: Work) -> None:
    """Show how far work is; that nobody can see it any more is no reason to leave it alone."""
    with contextlib.suppress(OSError):
        display.update(work.board.parts)


def _of(part: PartProgress) -> str:
    return "" if part.total is None else f", {part.total / _MIB:.1f} MiB"


def _undone(work: Work, what: str) -> str:
    if work.leftovers.items:
        return f"{what} was stopped, but not all of it could be undone: {'; '.join(work.leftovers.items)}"
    if isinstance(work.error, errors.Cancelled):
        return f"{what} was stopped and is undone."
    return f"{what} failed and is undone: {work.error}"
