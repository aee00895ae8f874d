"""The filesystem driver, writing staged bytes in large pieces and without digesting them a second time."""

import errno
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import glance_store
from glance_store._drivers import filesystem

from glance_flows import errors
from glance_flows.ports import Listed
from glance_flows.stores.reader import StagedReader

#: What writing to a full disk fails with: no room, no quota, or a limit on the size of files.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: A URL in which nothing has a meaning of its own: it is a path as it stands.
_PLAIN = re.compile(r"file:///[A-Za-z0-9_./-]+")


class _Place(filesystem.StoreLocation):
    """The driver's own reading of a URL, which takes as long as deleting the file; less where there is little to it."""

    def parse_uri(self, uri: str) -> None:
        """Find the path in a URL."""
        if _PLAIN.fullmatch(uri):
            self.scheme, self.path = "file", uri.removeprefix("file://")
        else:
            super().parse_uri(uri)


class FileDriver(filesystem.Store):
    """glance_store's filesystem driver with another way of writing; directories, permissions and URLs are its own.

    The digests of staged bytes are known. While they are written, their CRC is computed and compared with the one taken
    together with the digests, so what reaches the file is what was digested (C21).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.store_location_class = _Place
        #: Whether a file is to be on the disk, and not only in the memory of its host, before it counts as stored.
        self.sync = False

    def add(
        self,
        image_id: str,
        image_file: Any,
        image_size: int,
        hashing_algo: str,
        context: Any = None,
        verifier: Any = None,
    ) -> tuple[str, int, str, str, dict[str, Any]]:
        """Write an image file; the same arguments, result and errors as the driver's own ``add``."""
        if not isinstance(image_file, StagedReader) or verifier is not None:
            stored: tuple[str, int, str, str, dict[str, Any]] = super().add(
                image_id, image_file, image_size, hashing_algo, context=context, verifier=verifier
            )
            return stored
        path = os.path.join(self._find_best_datadir(image_size), image_id)
        self._write(path, image_file)
        metadata = {**self._get_metadata(path), "store": self.backend_group}
        contents = image_file.contents
        return f"file://{path}", contents.size, contents.checksum, contents.hash_value, metadata

    def candidates(self, image_id: str) -> list[str]:
        """Return every path at which the file of an image can be.

        :raises OSError: the driver was never configured
        """
        if not hasattr(self, "multiple_datadirs"):
            raise OSError("its directory is not configured")
        if not self.multiple_datadirs:
            return [os.path.join(self.datadir, image_id)]
        rows = (self.priority_data_map[priority] for priority in self.priority_list)
        return [os.path.join(directory, image_id) for row in rows for directory in row]

    def delete(self, location: Any, context: Any = None) -> None:
        """Delete an image file; the same arguments as the driver's own, but it is told why it cannot be done."""
        path = location.store_location.path
        try:
            os.unlink(path)
        except FileNotFoundError as failure:
            raise glance_store.NotFound(image=path) from failure

    def listing(self) -> Iterator[Listed]:
        """Yield every file in the directories of the store."""
        for directory in map(os.path.dirname, self.candidates("any")):
            yield from listed(directory)

    def _write(self, path: str, reader: StagedReader) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError as failure:
            raise glance_store.Duplicate(image=path) from failure
        except PermissionError as failure:
            raise glance_store.StorageWriteDenied() from failure
        try:
            self._copy(descriptor, reader)
            permissions = self.store_conf.filesystem_store_file_perm
            if permissions > 0:
                os.fchmod(descriptor, int(str(permissions), 8))
            if self.sync:
                _sync(descriptor, os.path.dirname(path))
        except BaseException as failure:
            _remove(path, descriptor)
            os.close(descriptor)
            if isinstance(failure, OSError) and failure.errno in _FULL:
                raise glance_store.StorageFull() from failure
            raise
        os.close(descriptor)

    def _copy(self, descriptor: int, reader: StagedReader) -> None:
        crc = written = 0
        for piece in reader.pieces():
            crc = zlib.crc32(piece, crc)
            written += len(piece)
            if self.thin_provisioning and _is_zero(piece):
                os.lseek(descriptor, len(piece), os.SEEK_CUR)
                continue
            view = piece
            while view:
                view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, written)
        if (written, crc) != (reader.contents.size, reader.contents.crc32):
            raise errors.VerificationFailed("the staged data changed while it was written to the store.")


def listed(directory: str) -> Iterator[Listed]:
    """Yield the files of a directory, in no order."""
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat()
                    modified = datetime.fromtimestamp(status.st_mtime, UTC).replace(tzinfo=None)
                    yield Listed(entry.name, f"file://{entry.path}", status.st_size, modified)


def _sync(descriptor: int, directory: str) -> None:
    """Have a file and its name on the disk."""
    os.fsync(descriptor)
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: str, descriptor: int) -> None:
    """Remove the file that was being written, unless another one has its name by now: not ours to remove."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            os.unlink(path)


def _is_zero(piece: memoryview) -> bool:
    """Tell whether a piece is all zeros; most are not, and their first bytes tell."""
    return not any(piece[:64]) and piece.tobytes() == bytes(len(piece))
