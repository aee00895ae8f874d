"""drop-box: import a file that an operator has put into a directory on this host."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

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
        _opened(request, conf).close()

    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the task that reads the file."""
        return [PickUp()]


class PickUp(Stage):
    """Reads the file into the staging area."""

    @contextlib.contextmanager
    def source(self, request: ImportRequest, conf: Any) -> Iterator[Source]:
        """Open the file."""
        with _opened(request, conf) as file:
            pieces = iter(lambda: file.read(_PIECE), b"")
            yield Source(pieces, os.fstat(file.fileno()).st_size)


def _opened(request: ImportRequest, conf: Any) -> BinaryIO:
    directory = conf.import_method_drop_box.directory
    name = request.parameters.get("file")
    if not directory:
        raise errors.ConfigurationError("[import_method_drop_box] directory is not set.")
    if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", ".."):
        raise errors.BadRequest("file: name a file of the drop box, without a path.")
    refused = errors.BadRequest(f"file: there is no {name!r} in the drop box.")
    # Asking first whether it is a link would leave time to put one there; a pipe is not to be waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(os.path.join(directory, name), flags)
    except (OSError, ValueError) as failure:
        raise refused from failure
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refused
    return os.fdopen(descriptor, "rb")
