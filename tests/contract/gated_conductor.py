"""``glance-flows`` on stores some of which stand still in the middle of an image, for as long as they are told to.

Called as ``python -m tests.contract.gated_conductor GATES …``. An upload into a store whose folder is called ``S``
makes the file ``GATES/S.reached`` after its first piece while there is a file ``GATES/S.shut``, and goes on when that
is gone.
"""

import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from glance_flows.cli import main as cli
from glance_flows.stores import files


def main(gates: pathlib.Path, arguments: list[str]) -> int:
    """Run the command."""
    write = files.FileDriver._write

    def gated(self: files.FileDriver, path: str, reader: Any) -> None:
        name = pathlib.Path(path).parent.name
        write(self, path, _Gated(reader, gates / f"{name}.shut", gates / f"{name}.reached"))

    files.FileDriver._write = gated
    return cli.main(arguments)


class _Gated:
    """The reader of an upload, with a gate after its first piece.

    :param reader: the reader
    :param shut: the gate is shut while there is this file
    :param reached: made once the upload stands before it
    """

    def __init__(self, reader: Any, shut: pathlib.Path, reached: pathlib.Path) -> None:
        self._reader, self._shut, self._reached = reader, shut, reached
        self.contents = reader.contents

    def pieces(self) -> Iterator[memoryview]:
        for number, piece in enumerate(self._reader.pieces()):
            yield piece
            if number == 0 and self._shut.exists():
                self._reached.touch()
                while self._shut.exists():
                    time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
