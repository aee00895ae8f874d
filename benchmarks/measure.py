"""What a piece of work took: wall clock, CPU and peak memory, of this process or of commands."""

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
_BLOCK = 256 * 1024
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Cost:
    """What something took; CPU is user and system time together, the peak of memory is in bytes."""

    wall: float
    cpu: float
    peak_rss: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other."""
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak_rss, other.peak_rss))


def here(work: Callable[[], object]) -> Cost:
    """Measure a call in this process, its threads included."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu, peak_rss())


def commands(*rows: Sequence[object], env: dict[str, str] | None = None) -> Cost:
    """Measure commands that run side by side, each as a process of its own."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    running = [subprocess.Popen([str(part) for part in row], stdout=subprocess.DEVNULL, env=env) for row in rows]
    codes = [process.wait() for process in running]
    elapsed, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if any(codes):
        raise RuntimeError(f"a command failed: {[list(map(str, row)) for row in rows]} ended with {codes}")
    return Cost(elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def peak_rss() -> int:
    """Return the most memory that this process has held, in bytes.

    Not ``ru_maxrss``: a child inherits that from the process it was forked from.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the peak of a process's memory")


def settle(source: Path, copies: int) -> None:
    """Make the machine ready to be measured: dirty pages are on the disk, and free memory has been used before.

    A virtual machine gets memory from its host page by page when it is first touched, which costs ten times as much as
    the copying itself. So three times as much as is about to be written is touched and given back right before, of what
    is free at most half.
    """
    os.sync()
    wanted = min(3 * copies * source.stat().st_size, _free_memory() // 2)
    with tempfile.TemporaryFile(dir=_MEMORY if _MEMORY.is_dir() else source.parent, buffering=0) as scratch:
        block = bytes(_BLOCK)
        for _ in range(wanted // _BLOCK):
            scratch.write(block)


def _free_memory() -> int:
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def median(costs: Iterable[Cost]) -> Cost:
    """Return the medians, each figure's own, and the largest peak."""
    rows = list(costs)
    wall, cpu = (statistics.median(getattr(row, name) for row in rows) for name in ("wall", "cpu"))
    return Cost(wall, cpu, max(row.peak_rss for row in rows))


def best(costs: Iterable[Cost]) -> Cost:
    """Return the least of each figure, which is what other work on the machine disturbed least."""
    rows = list(costs)
    return Cost(min(row.wall for row in rows), min(row.cpu for row in rows), max(row.peak_rss for row in rows))


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost], name: str = "wall") -> float:
    """Return the median of the ratios of pairs: what ran one after the other shared the machine's mood.

    :param theirs: may hold fewer rounds, the first ones
    """
    pairs = zip(ours, theirs, strict=False)
    return float(statistics.median(getattr(mine, name) / getattr(other, name) for mine, other in pairs))
