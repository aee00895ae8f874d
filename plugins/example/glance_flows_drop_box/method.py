"""drop-box: import a file that an operator has put into a directory on this host."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from glance_flows import ImportMethod, ImportRequest, Task, errors
from glance_flows.tasks import Source, Stage

_PIECE = 1024 * 1024


class DropBox(ImportMethod):
    """Imports a file from a directory on the host, named by the parameter ``file``."""

    options = (cfg.StrOpt("directory", help="Directory whose files may be imported."),)

    def check(self, request: ImportRequest, conf: Any) -> None:
        """Refuse a file that is not there or lies elsewhere.

        :raises BadRequest: naming the field ``file``
        """
        _file(request, conf)

    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the task that reads the file."""
        return [PickUp()]


class PickUp(Stage):
    """Reads the file into the staging area."""

    @contextlib.contextmanager
    def source(self, request: ImportRequest, conf: Any) -> Iterator[Source]:
        """Open the file."""
        with open(_file(request, conf), "rb") as file:
            pieces = iter(lambda: file.read(_PIECE), b"")
            yield Source(pieces, os.fstat(file.fileno()).st_size)


def _file(request: ImportRequest, conf: Any) -> Path:
    directory = conf.import_method_drop_box.directory
    name = request.parameters.get("file")
    if not directory:
        raise errors.ConfigurationError("[import_method_drop_box] directory is not set.")
    if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", ".."):
        raise errors.BadRequest("file: name a file of the drop box, without a path.")
    path = Path(directory) / name
    if path.is_symlink() or not path.is_file():
        raise errors.BadRequest(f"file: there is no {name!r} in the drop box.")
    return path
