"""Reading a user's file or standard input in pieces, ready to stop between any two of them."""

import contextlib
import os
import select
import stat
from collections.abc import Iterator

from glance_flows import errors
from glance_flows.ports import Cancel

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def opened(file: str) -> Iterator[int]:
    """Open a file, or standard input for ``-``, and yield its descriptor.

    :raises SourceFailed: it cannot be read
    """
    if file == "-":
        yield 0
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as failure:
        raise errors.SourceFailed(f"cannot read {file}: {failure.strerror}.") from failure
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise errors.SourceFailed(f"cannot read {file}: it is a directory.")
        yield descriptor
    finally:
        os.close(descriptor)


def chunks_of(descriptor: int, size: int, cancel: Cancel) -> Iterator[bytes]:
    """Yield the bytes of a file or pipe, at most ``size`` at a time.

    :raises SourceFailed: it cannot be read
    :raises Cancelled: the work is to stop, even while a pipe has nothing to give
    """
    try:
        waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        while True:
            cancel.check()
            if waits and not select.select([descriptor], [], [], _POLL_SECONDS)[0]:
                continue
            chunk = os.read(descriptor, size)
            if not chunk:
                return
            yield chunk
    except OSError as failure:
        raise errors.SourceFailed(f"cannot read the data: {failure.strerror}.") from failure
