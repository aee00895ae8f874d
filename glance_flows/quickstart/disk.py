"""A small disk image with a real partition table, and telling what kind of image some bytes begin."""

import os
import struct
import uuid
import zlib
from pathlib import Path

MIB = 1024 * 1024
SIZE = 64 * MIB
_SECTOR = 512
_ENTRIES = 128
_TABLE_SECTORS = 32
_LINUX = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
_ALIGNED = 2048

#: How the formats begin: offset, bytes, and the format. What begins like none of them is raw.
_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (32769, b"CD001", "iso"),
)
#: How many bytes :func:`format_of` wants to see.
HEAD = 64 * 1024


def format_of(head: bytes) -> str:
    """Return the disk format of an image that begins with ``head``."""
    return next((name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic), "raw")


def make(path: Path) -> bool:
    """Write a raw disk of 64 MiB with a GPT and one partition; tell whether it was not there before."""
    if path.is_file() and path.stat().st_size == SIZE:
        return False
    passing = path.with_name(f".glance-flows-{path.name}.part")
    with open(passing, "wb") as file:
        for number in range(SIZE // MIB):
            file.write(_filling(number))
        _write_table(file.fileno())
    os.replace(passing, path)
    return True


def _filling(number: int) -> bytes:
    """One MiB: a quarter of the disk is random, a quarter text, the rest empty, much as disks are."""
    if number % 4 == 0:
        return os.urandom(MIB)
    if number % 4 == 1:
        line = f"This is MiB {number} of a disk that glance-flows quickstart made.\n".encode()
        return (line * (MIB // len(line) + 1))[:MIB]
    return bytes(MIB)


def _write_table(descriptor: int) -> None:
    sectors = SIZE // _SECTOR
    name = "glance-flows".encode("utf-16-le")
    span = struct.pack("<QQQ", _ALIGNED, sectors - _ALIGNED - 1, 0)
    entry = _LINUX.bytes_le + uuid.uuid4().bytes_le + span + name.ljust(72, b"\0")
    table = entry.ljust(_ENTRIES * 128, b"\0")
    disk = uuid.uuid4()
    last = sectors - 1
    first_copy = _header(disk, table, own=1, other=last, table_at=2)
    second_copy = _header(disk, table, own=last, other=1, table_at=last - _TABLE_SECTORS)
    for at, data in (
        (0, _protective_mbr(sectors)),
        (1, first_copy),
        (2, table),
        (last - _TABLE_SECTORS, table),
        (last, second_copy),
    ):
        os.pwrite(descriptor, data, at * _SECTOR)


def _protective_mbr(sectors: int) -> bytes:
    whole_disk = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, sectors - 1)
    return bytes(446) + whole_disk + bytes(48) + b"\x55\xaa"


def _header(disk: uuid.UUID, table: bytes, *, own: int, other: int, table_at: int) -> bytes:
    usable = (2 + _TABLE_SECTORS, SIZE // _SECTOR - _TABLE_SECTORS - 2)

    def packed(crc: int) -> bytes:
        start = struct.pack("<8sIIIIQQQQ", b"EFI PART", 0x10000, 92, crc, 0, own, other, *usable)
        rest = struct.pack("<QIII", table_at, _ENTRIES, 128, zlib.crc32(table))
        return start + disk.bytes_le + rest

    return packed(zlib.crc32(packed(0))).ljust(_SECTOR, b"\0")
