"""What arguments of commands may be: refused here with status 2, before anything is opened."""

import argparse
import uuid
from collections.abc import Callable

#: What Glance takes unless its operator says otherwise.
VISIBILITIES = ("private", "public", "shared", "community")

#: What a column of names holds.
_NAME_LENGTH = 255
_LARGEST = 2**31 - 1


def text(value: str) -> str:
    """Text that a database can hold: what was typed in another encoding than the locale's is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not text in the encoding of this terminal") from None
    if "\0" in value:
        raise argparse.ArgumentTypeError("has a zero byte in it")
    return value


def name(value: str) -> str:
    """Text that fits into a column of names."""
    if not value or len(text(value)) > _NAME_LENGTH:
        raise argparse.ArgumentTypeError(f"must have 1 to {_NAME_LENGTH} characters")
    return value


def image_id(value: str) -> str:
    """A UUID, as the ids of images are."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no UUID") from None


def pair(value: str) -> tuple[str, str]:
    """A key and a value with an equals sign between."""
    key, equals, rest = value.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{value!r} is not of the form KEY=VALUE")
    return name(key), text(rest)


def parameter(value: str) -> tuple[str, str]:
    """A parameter of an import method, which the URI is not."""
    found = pair(value)
    if found[0] == "uri":
        raise argparse.ArgumentTypeError("the URI is no parameter: give it with --uri")
    return found


def natural(least: int) -> Callable[[str], int]:
    """A whole number that is ``least`` or more and fits into a database's integer."""

    def number(value: str) -> int:
        try:
            parsed = int(value)
        except ValueError:
            parsed = -1
        if not least <= parsed <= _LARGEST:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from {least} on")
        return parsed

    return number


def add_stores(parser: argparse.ArgumentParser, *, required: bool, what: str) -> None:
    """Add ``--store`` and ``--all-stores``, which exclude each other.

    :param what: completes the sentence "… every store", as in "copy to"
    """
    group = parser.add_mutually_exclusive_group(required=required)
    text = f"{what} this store; may be repeated"
    group.add_argument("--store", action="append", dest="stores", metavar="S", help=text)
    group.add_argument("--all-stores", action="store_true", help=f"{what} every store that lacks the image")


def add_pairs(
    parser: argparse.ArgumentParser, option: str, what: str, kind: Callable[[str], tuple[str, str]] = pair
) -> None:
    """Add an option that is given once for each ``KEY=VALUE``.

    :param kind: reads one
    """
    parser.add_argument(
        option, action="append", type=kind, default=[], metavar="KEY=VALUE", help=f"{what}; may be repeated"
    )
