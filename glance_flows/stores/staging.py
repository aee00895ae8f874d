"""The staging area: one file an image, in the directory that Glance uses for the same purpose."""

import contextlib
import errno
import glob
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from glance_flows import errors, states
from glance_flows.images import Contents, Staged
from glance_flows.ports import Cancel, Listed, Progress
from glance_flows.stores.bounded import BoundedCall, Patience
from glance_flows.stores.digest import Digester
from glance_flows.stores.files import listed

if TYPE_CHECKING:
    from glance_flows.stores.inspect import Inspection

PART = "staging"
#: Ends the name of a file that is still being written; a glance-api takes it for a file of the same image.
_PARTIAL = ".part"


class StagingArea:
    """Files of image data on their way from a source to the stores.

    :param conf: the directory of ``[os_glance_staging_store]``, the sizes of ``[glance_flows]``, ``image_size_cap``
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.directory = Path(conf[states.STAGING_STORE].filesystem_store_datadir)
        self._chunk = conf.glance_flows.chunk_size
        self._cap = conf.image_size_cap
        self._patience = Patience(conf.glance_flows.store_timeout, conf.glance_flows.cancel_grace)
        self._strict = conf.image_format.require_image_format_match

    def path(self, image_id: str) -> Path:
        """Return the path of an image's staged file, whether there is one or not."""
        return self.directory / image_id

    def take(
        self,
        image_id: str,
        chunks: Iterable[bytes],
        *,
        algorithm: str,
        disk_format: str | None,
        limit: int | None = None,
    ) -> Staged:
        """Write ``chunks`` to the image's file, digesting them and, for a ``disk_format``, inspecting them on the way.

        The file appears under its name only when it is whole; on any error nothing of it stays. For whoever holds the
        image: others use :meth:`receive`.

        :param limit: most bytes to accept; by default ``image_size_cap``
        :raises TooLarge: there were more
        :raises UnsafeImage: see :meth:`accept`
        """
        partial = self.path(image_id).with_suffix(_PARTIAL)
        contents = self._write(partial, chunks, algorithm, disk_format, limit)
        partial.replace(self.path(image_id))
        return Staged(str(self.path(image_id)), contents, ours=True)

    def receive(
        self, image_id: str, chunks: Iterable[bytes], *, algorithm: str, disk_format: str | None
    ) -> tuple[Contents, Path]:
        """Write ``chunks`` to a file that nobody else knows, for :meth:`place`; the rest as :meth:`take`."""
        partial = self.path(image_id).with_suffix(f".{uuid.uuid4().hex}{_PARTIAL}")
        return self._write(partial, chunks, algorithm, disk_format, None), partial

    def place(self, image_id: str, received: Path) -> None:
        """Make a received file the image's; doing it twice does no harm."""
        if received.exists():
            received.replace(self.path(image_id))

    def _write(
        self, path: Path, chunks: Iterable[bytes], algorithm: str, disk_format: str | None, limit: int | None
    ) -> Contents:
        self._make_directory()
        try:
            with (
                open(path, "wb", buffering=0, opener=_without_links) as file,
                Digester(algorithm, self._inspection(disk_format)) as digester,
            ):
                for chunk in self._capped(chunks, limit or self._cap):
                    _write_all(file.fileno(), chunk)
                    digester.update(chunk)
                return self.accept(digester.contents())
        except OSError as failure:
            path.unlink(missing_ok=True)
            raise errors.StoreError(f"cannot write to the staging area: {failure.strerror}.") from failure
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def look(
        self, image_id: str, *, algorithm: str, disk_format: str | None, cancel: Cancel, progress: Progress
    ) -> Staged:
        """Digest and inspect what is staged for an image.

        :raises Conflict: nothing is staged on this host
        :raises UnsafeImage: see :meth:`accept`
        """
        path = self.path(image_id)
        with _staged_file(path, image_id) as file:
            contents = self._digest(file, algorithm, disk_format, cancel, progress)
        return Staged(str(path), self.accept(contents), ours=True)

    def digest(
        self, path: Path, *, algorithm: str, disk_format: str | None, cancel: Cancel, progress: Progress
    ) -> Contents:
        """Digest a file of a store where it is.

        :raises StoreTimeout: it cannot be read on for too long
        """
        watched = _Watched(cancel, progress)

        def call() -> Contents:
            with open(path, "rb", buffering=0) as file:
                return self._digest(file, algorithm, disk_format, watched, watched)

        bounded = BoundedCall(call, position=lambda: watched.position, stop=watched.stop)
        return bounded.wait("the reading of the file", self._patience, cancel)

    def _digest(
        self, file: FileIO, algorithm: str, disk_format: str | None, cancel: Cancel, progress: Progress
    ) -> Contents:
        progress.begin(PART, os.fstat(file.fileno()).st_size)
        with Digester(algorithm, self._inspection(disk_format)) as digester:
            while chunk := file.read(self._chunk):
                cancel.check()
                digester.update(chunk)
                progress.advance(PART, len(chunk))
            contents = digester.contents()
        progress.finish(PART, "done")
        return contents

    def accept(self, contents: Contents) -> Contents:
        """Return ``contents`` unless the inspection refused them.

        :raises UnsafeImage: the data is no safe image of its disk_format (C24)
        """
        if contents.refused:
            raise errors.UnsafeImage(f"the image data is refused: {contents.refused}.")
        return contents

    def listing(self) -> Iterator[Listed]:
        """Yield every file in the staging area."""
        if self.directory.is_dir():
            yield from listed(str(self.directory))

    def remove(self, image_id: str) -> bool:
        """Remove the image's file; tell whether there was one."""
        for partial in self.directory.glob(f"{glob.escape(image_id)}.*{_PARTIAL[1:]}"):
            partial.unlink(missing_ok=True)
        try:
            self.path(image_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise errors.StoreError(f"cannot make the staging area: {failure.strerror}.") from failure

    def _inspection(self, disk_format: str | None) -> "Inspection | None":
        # It brings a library of ciphers, six megabytes that a scrubber does not need.
        from glance_flows.stores.inspect import Inspection

        return Inspection(disk_format, strict=self._strict) if disk_format else None

    @staticmethod
    def _capped(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise errors.TooLarge(f"the data is larger than the {limit} bytes allowed.")
            yield chunk


class _Watched:
    """A run's progress and its wish to stop, for a call that may be given up: then nothing more is told."""

    def __init__(self, cancel: Cancel, progress: Progress) -> None:
        self._cancel, self._progress = cancel, progress
        self._stopped = False
        self.position = 0

    def stop(self) -> None:
        self._stopped = True

    def check(self) -> None:
        if self._stopped:
            raise errors.Cancelled("the reading was given up.")
        self._cancel.check()

    def calling(self, stop: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return self._cancel.calling(stop)

    def begin(self, part: str, total: int | None) -> None:
        self.check()
        self._progress.begin(part, total)

    def advance(self, part: str, count: int) -> None:
        self.position += count
        self._progress.advance(part, count)

    def finish(self, part: str, state: str) -> None:
        self.check()
        self._progress.finish(part, state)


@contextlib.contextmanager
def _staged_file(path: Path, image_id: str) -> Iterator[FileIO]:
    """Open what is staged for an image: a file, and no link, for what a link leads to nobody has staged.

    :raises Conflict: there is none
    """
    try:
        descriptor = _without_links(str(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise _nothing(image_id) from failure
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _nothing(image_id)
    with FileIO(descriptor) as file:
        yield file


def _nothing(image_id: str) -> errors.Conflict:
    return errors.Conflict(f"nothing is staged for image {image_id} in this host's staging area.")


def _without_links(path: str, flags: int) -> int:
    """Open a file for :func:`open`, unless a link stands in its place; a pipe is not waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
