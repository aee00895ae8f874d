"""Values as people and as programs read them: ``-f table`` and ``-f json`` of the same record."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cliff import columns


class Text(columns.FormattableColumn[Any]):
    """Text of users: in a table control characters are spelt out, so that a name cannot move the cursor."""

    def human_readable(self) -> str:
        """Return the text as it may be shown."""
        return "" if self._value is None else printable(str(self._value))


class Listed(columns.FormattableColumn[Any]):
    """A list of texts."""

    def human_readable(self) -> str:
        """Return the texts with commas between."""
        return ", ".join(printable(str(item)) for item in self._value)


class Pairs(columns.FormattableColumn[Any]):
    """An object."""

    def human_readable(self) -> str:
        """Return one line a key."""
        return "\n".join(f"{printable(str(key))}={printable(str(value))}" for key, value in self._value.items())


class Records(columns.FormattableColumn[Any]):
    """A list of objects."""

    def human_readable(self) -> str:
        """Return one line an object."""
        return "\n".join(" ".join(printable(str(value)) for value in item.values() if value) for item in self._value)


def printable(text: str) -> str:
    """Return ``text`` with control characters spelt out."""
    return "".join(
        char if char.isprintable() or char in "\u200d" else char.encode("unicode_escape").decode() for char in text
    )


def formattable(value: Any) -> Any:
    """Return a value that every formatter of cliff shows well."""
    if value is None or isinstance(value, str):
        return Text(value)
    if isinstance(value, datetime):
        return Text(value.isoformat(timespec="seconds") + "Z")
    if isinstance(value, Mapping):
        return Pairs(dict(value))
    if isinstance(value, Sequence):
        return Records(list(value)) if value and isinstance(value[0], Mapping) else Listed(list(value))
    return value


def record(fields: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return an object as cliff takes it: the names, and the values ready to be formatted."""
    return tuple(fields), tuple(formattable(value) for value in fields.values())
