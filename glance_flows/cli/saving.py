"""Where ``image save`` writes: a file that appears whole or not at all, or standard output."""

import contextlib
import fcntl
import io
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

from glance_flows import errors
from glance_flows.ports import Cancel


class Stopped(BaseException):
    """Writing was stopped or failed; no error of a store, so the next store is not tried."""


class Sink(io.RawIOBase):
    """An unbuffered file object that can be stopped between two writes.

    :param descriptor: what to write to; closed by whoever opened it
    :param rewinds: whether bytes of a damaged copy may be written over
    """

    def __init__(self, descriptor: int, *, rewinds: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._rewinds = rewinds
        self._cancel: Cancel | None = None
        self.failure: OSError | None = None

    def stop_with(self, cancel: Cancel) -> None:
        """Poll ``cancel`` before each write."""
        self._cancel = cancel

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Whether bytes of a damaged copy may be written over."""
        return self._rewinds

    def write(self, data: Any) -> int:
        """Write all of ``data``.

        :raises Stopped: the work is to stop, or the bytes cannot be written
        """
        view = memoryview(data)
        size = view.nbytes
        try:
            if self._cancel is not None:
                self._cancel.check()
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as failure:
            self.failure = failure
            raise Stopped from failure
        except errors.Cancelled as failure:
            raise Stopped from failure
        return size

    def tell(self) -> int:
        """Return the position."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off at the position."""
        at = self.tell() if size is None else size
        os.ftruncate(self._descriptor, at)
        return at


class StandardOutput:
    """Standard output: the bytes go as they come, and the exit status tells whether they were right."""

    def __enter__(self) -> Sink:
        if sys.stdout.isatty():
            raise errors.BadRequest("standard output is a terminal: name a file with --file, or pipe the data on.")
        regular = stat.S_ISREG(os.fstat(1).st_mode)
        appends = fcntl.fcntl(1, fcntl.F_GETFL) & os.O_APPEND
        self._sink = Sink(1, rewinds=bool(regular and not appends))
        return self._sink

    def __exit__(self, kind: object, cause: BaseException | None, trace: object) -> None:
        if isinstance(cause, Stopped) and isinstance(self._sink.failure, BrokenPipeError):
            raise BrokenPipeError from cause
        _explain(cause, "standard output", self._sink)

    def keep(self) -> None:
        """All of it is there."""


class NewFile:
    """A file under a passing name in the same directory, renamed when it is whole.

    :param file: the name it gets
    :param force: replace a file of that name
    """

    def __init__(self, file: str, *, force: bool) -> None:
        self._file = file
        self._path = Path(os.path.realpath(file))
        self._passing = self._path.with_name(f".glance-flows-{secrets.token_hex(8)}.part")
        self._force = force

    def __enter__(self) -> Sink:
        self._check()
        try:
            self._descriptor = os.open(self._passing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as failure:
            raise errors.BadRequest(f"cannot write {self._file}: {failure.strerror}.") from failure
        self._sink = Sink(self._descriptor, rewinds=True)
        return self._sink

    def __exit__(self, kind: object, cause: BaseException | None, trace: object) -> None:
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            self._passing.unlink()
        _explain(cause, self._file, self._sink)

    def keep(self) -> None:
        """Give the file its name, once all of it is on the disk.

        :raises BadRequest: a file of that name has come up meanwhile
        """
        try:
            os.fsync(self._descriptor)
            if self._force:
                os.replace(self._passing, self._path)
            else:
                os.link(self._passing, self._path)
        except FileExistsError:
            raise errors.BadRequest(self._taken()) from None
        except OSError as failure:
            raise errors.BadRequest(f"cannot write {self._file}: {failure.strerror}.") from failure

    def _check(self) -> None:
        if not self._path.exists():
            return
        if not self._path.is_file():
            raise errors.BadRequest(f"{self._file} is no regular file: name another, or - for standard output.")
        if not self._force:
            raise errors.BadRequest(self._taken())

    def _taken(self) -> str:
        return f"{self._file} exists: name another file, or replace it with --force."


def target(file: str, *, force: bool) -> StandardOutput | NewFile:
    """Return where ``--file`` says that the data goes."""
    return StandardOutput() if file == "-" else NewFile(file, force=force)


def _explain(cause: BaseException | None, name: str, sink: Sink) -> None:
    if isinstance(cause, Stopped) and sink.failure is not None:
        raise errors.BadRequest(f"cannot write {name}: {sink.failure.strerror}.") from cause
