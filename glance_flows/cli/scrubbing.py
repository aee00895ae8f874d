"""A pass of the scrubber as people and programs see it: under way, done, or only looked at (S6, S16)."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from oslo_utils import timeutils

from glance_flows.cli import told
from glance_flows.cli.columns import printable
from glance_flows.cli.jobs import Job

if TYPE_CHECKING:
    from glance_flows.db.pending import PendingImage
    from glance_flows.scrubber import Report

T = TypeVar("T")
_LOOK_SECONDS = 0.1
_TOLD_FAILURES = 20
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def supervise(work: Callable[[], T], stop: Callable[[], None], asked: Callable[[], bool]) -> T:
    """Run ``work`` on a thread, and ask it to stop when ``asked`` tells that a signal came.

    :return: what ``work`` returns, which after ``stop`` it does as soon as what it has in hand is finished
    """
    job = Job(lambda token, board: work())
    stopping = False
    while not job.wait(_LOOK_SECONDS):
        if asked() and not stopping:
            told.say("stopping: what is in hand is finished")
            stop()
            stopping = True
    result: T = job.result()
    return result


class Progress:
    """One line on a terminal that tells how far a pass is; nothing elsewhere, so that cron has nothing to send.

    :param shown: whether to show it where there is a terminal
    """

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._lock = threading.Lock()

    def __call__(self, report: "Report") -> None:
        """Show a report in place of the one before."""
        if self._shown:
            text = f"{_work(report, '')}, {counted(report.failed, 'failure')}"
            with self._lock, contextlib.suppress(OSError):
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            with contextlib.suppress(OSError):
                sys.stderr.write("\r\x1b[K")


def tell(report: "Report", *, as_json: bool) -> None:
    """Print the closing report, and on standard error what failed (S7)."""
    for item in report.failures[:_TOLD_FAILURES]:
        told.say(f"image {item['image']}, store {item['store'] or '?'}: {item['error']}")
    if report.failed > _TOLD_FAILURES:
        told.say(f"and {report.failed - _TOLD_FAILURES} more; the log has them all")
    if as_json:
        print(json.dumps(report.to_json()))
        return
    were = "was" if report.missing == 1 else "were"
    gone = f" ({counted(report.missing, 'object')} {were} gone already)" if report.missing else ""
    print(
        f"{_work(report, ' scrubbed')}{gone} in {report.seconds:.1f} s,"
        f" {report.rate:.1f} images a second; {counted(report.failed, 'failure')}"
        + (f"; {counted(report.held, 'image')} left to other scrubbers" if report.held else "")
        + ("; stopped" if report.stopped else "")
    )


def list_due(due: "Iterable[PendingImage]", *, as_json: bool) -> None:
    """Print what a pass would remove, one image after the other as they are read (S15, S16)."""
    count = total = 0
    lines = _json_lines(due) if as_json else _text_lines(due)
    if as_json:
        sys.stdout.write('{"dry_run": true, "due": [')
    else:
        print(f"{'image':<36}  {'size':>10}  {'age':>10}  stores")
    for line, freed in lines:
        sys.stdout.write((", " if as_json and count else "") + line)
        count, total = count + 1, total + freed
    if as_json:
        print(f'], "images": {count}, "bytes": {total}}}')
    else:
        print(f"{counted(count, 'image')}, {size(total)} would be removed")


def _json_lines(due: "Iterable[PendingImage]") -> "Iterable[tuple[str, int]]":
    for image in due:
        age = None if image.deleted_at is None else int(timeutils.delta_seconds(image.deleted_at, timeutils.utcnow()))
        fields = {"image": image.id, "size": image.size, "age": age, "stores": list(image.stores)}
        yield json.dumps(fields), (image.size or 0) * len(image.stores)


def _text_lines(due: "Iterable[PendingImage]") -> "Iterable[tuple[str, int]]":
    for image in due:
        age = None if image.deleted_at is None else timeutils.delta_seconds(image.deleted_at, timeutils.utcnow())
        shown = size(image.size) if image.size is not None else "?"
        stores = ", ".join(printable(name) for name in image.stores)
        yield f"{image.id:<36}  {shown:>10}  {span(age):>10}  {stores}\n", (image.size or 0) * len(image.stores)


def _work(report: "Report", done: str) -> str:
    return f"{counted(report.images, 'image')}{done}, {size(report.freed)} freed"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things for people.

    >>> counted(1, "image"), counted(2, "image"), counted(0, "property", "properties")
    ('1 image', '2 images', '0 properties')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> size(1536)
    '1.5 KiB'
    """
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return counted(count, "byte") if unit == "bytes" else f"{value:.1f} {unit}"


def span(seconds: float | None) -> str:
    """Return a time for people, its two largest parts.

    >>> span(93784)
    '1d 2h'
    """
    if seconds is None:
        return "?"
    rest = max(0, int(seconds))
    parts: list[str] = []
    for letter, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (letter == "s" and not parts):
            parts.append(f"{count}{letter}")
    return " ".join(parts[:2])
