"""Run a program's module as it is, and note what it took: ``python counted.py REPORT MODULE ARGUMENTS...``.

It runs in any interpreter that has SQLAlchemy, by path, and imports nothing of this project. A statement is one that a
cursor is told to execute, or the beginning or end of a transaction; one for many rows counts once, for the drivers send
it as one, or as SQLite's does, run it at once. What a connection says by itself when it is opened (pragmas, modes) and
what a driver sends unasked do not count.
"""

import atexit
import json
import runpy
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


class Counter:
    """Counts the statements of every engine in this process, and the beginnings and ends of transactions apart."""

    def __init__(self) -> None:
        self.statements = self.bounds = 0
        self._lock = threading.Lock()
        event.listen(Engine, "before_cursor_execute", self._statement)
        for bound in ("begin", "commit", "rollback"):
            event.listen(Engine, bound, self._bound)

    def _statement(self, connection: Any, cursor: Any, statement: str, *about: Any) -> None:
        if statement.startswith("BEGIN"):  # said through a cursor for SQLite alone, and counted as a beginning
            return
        with self._lock:
            self.statements += 1

    def _bound(self, connection: Any) -> None:
        with self._lock:
            self.bounds += 1


def peak_rss() -> int:
    """Return the most memory that this process has held, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(report: str, module: str, *arguments: str) -> None:
    """Run the module; the report is written last, when every thread of the program has ended."""
    counter = Counter()

    def tell() -> None:
        told = {"statements": counter.statements, "bounds": counter.bounds, "peak_rss": peak_rss()}
        Path(report).write_text(json.dumps(told))

    atexit.register(tell)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
