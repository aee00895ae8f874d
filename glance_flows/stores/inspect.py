"""Looking into image data as it streams: what format it is, how large the disk, and whether it is safe (C24)."""

import logging
from dataclasses import dataclass

from oslo_utils.imageutils import format_inspector

LOG = logging.getLogger(__name__)

#: A raw disk may hold anything that starts like these: a partition table, or a hybrid ISO written to a disk.
_RAW_LOOKS_LIKE = frozenset({"raw", "gpt", "iso"})
#: Kernels and ramdisks may begin with a boot sector that is no valid partition table.
_BOOT_SECTOR_ALLOWED = frozenset({"aki", "ari"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of an inspection; ``refused`` is the sentence for the user, None where the data may be stored."""

    format: str | None
    virtual_size: int | None
    refused: str | None


class _Chunk:
    """Hands the inspector the chunk that is passing by."""

    def __init__(self) -> None:
        self.data = b""

    def read(self, size: int) -> bytes:
        """Return the current chunk."""
        return self.data


class Inspection:
    """Inspects a stream chunk by chunk.

    :param disk_format: what the image says it is
    :param strict: whether data of another format is refused; unsafe data always is
    """

    def __init__(self, disk_format: str, *, strict: bool = True) -> None:
        self._disk_format = disk_format
        self._strict = strict
        self._chunk = _Chunk()
        self._wrapper = format_inspector.InspectWrapper(self._chunk)  # type: ignore[arg-type]

    def feed(self, chunk: bytes) -> None:
        """Look at the next chunk."""
        self._chunk.data = chunk
        self._wrapper.read(len(chunk))

    def verdict(self) -> Verdict:
        """Return what was found, once the whole stream has passed."""
        self._wrapper.close()
        try:
            inspector = self._match()
            found = str(inspector)
        except format_inspector.ImageFormatError as failure:
            return Verdict(None, None, f"its format cannot be told: {failure}" if self._strict else None)
        unsafe = self._unsafe(inspector)
        if unsafe:
            return Verdict(found, None, f"it is not a safe {found} image: {unsafe}")
        if not self._accepts(found):
            text = f"its data is {found}, not {self._disk_format} as disk_format says"
            LOG.warning("Image data does not match: %s", text)
            return Verdict(found, None, text if self._strict else None)
        size = inspector.virtual_size if found == self._disk_format else inspector.actual_size
        known = found == self._disk_format or self._disk_format == "raw"
        return Verdict(found, size if known else None, None)

    def _match(self) -> format_inspector.FileInspector:
        by_name = {str(inspector): inspector for inspector in self._wrapper.formats or []}
        if by_name.keys() == {"iso", "gpt"}:
            return by_name["iso"]
        inspector = self._wrapper.format
        if inspector is None:
            raise format_inspector.ImageFormatError("the data ended too early")
        return inspector

    def _accepts(self, found: str) -> bool:
        if found == self._disk_format:
            return True
        if self._disk_format == "raw":
            return found in _RAW_LOOKS_LIKE
        return self._disk_format not in format_inspector.ALL_FORMATS and found in _RAW_LOOKS_LIKE

    def _unsafe(self, inspector: format_inspector.FileInspector) -> str | None:
        try:
            inspector.safety_check()
        except format_inspector.SafetyCheckFailed as failure:
            failed = set(failure.failures)
            if str(inspector) == "gpt" and self._disk_format in _BOOT_SECTOR_ALLOWED:
                failed.discard("mbr")
            return "; ".join(f"{name}: {failure.failures[name]}" for name in sorted(failed)) or None
        except format_inspector.ImageFormatError as failure:
            return str(failure)
        return None
