"""``glance-scrubber`` on stores whose deletion number N stands still.

Called as ``python -m tests.contract.gated_scrubber N REACHED GO …``: makes the file ``REACHED`` when it gets there,
goes on when there is a file ``GO``.
"""

import itertools
import pathlib
import sys
import time
from typing import Any

from glance_flows.cli import scrubber
from glance_flows.stores.files import FileDriver

_number = itertools.count(1)


def gate(at: int, reached: pathlib.Path, go: pathlib.Path) -> None:
    """Put a gate before a deletion of files."""
    delete = FileDriver.delete

    def gated(self: FileDriver, *args: Any, **kwargs: Any) -> None:
        if next(_number) == at:
            reached.touch()
            while not go.exists():
                time.sleep(0.01)
        delete(self, *args, **kwargs)

    FileDriver.delete = gated


def main(at: int, reached: pathlib.Path, go: pathlib.Path, arguments: list[str]) -> int:
    """Run the scrubber."""
    gate(at, reached, go)
    return scrubber.main(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4:]))
