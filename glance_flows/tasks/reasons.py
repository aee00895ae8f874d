"""Why a flow failed: the one failure that explains the others."""

from collections.abc import Mapping
from typing import Any

from taskflow.types import failure

from glance_flows import errors


def first_cause(failures: Mapping[str, failure.Failure]) -> BaseException | None:
    """Return the failure that made the others fail: a sibling's :class:`errors.Cancelled` is only an echo.

    :param failures: by the name of the task, as taskflow hands them to ``revert``
    """
    causes = [item.exception or _told(item) for item in failures.values()]
    own = [cause for cause in causes if not isinstance(cause, errors.Cancelled)]
    return (own or causes or [None])[0]


def _told(item: failure.Failure) -> BaseException:
    """Return the exception of a failure that was stored before its process died: our class, and its message."""
    module, _, name = next(iter(item)).rpartition(".")
    kind = getattr(errors, name, None) if module == errors.__name__ else None
    return kind(item.exception_str) if kind is not None else errors.TaskFailed(item.exception_str)


def failed_stores(failures: Mapping[str, failure.Failure]) -> list[str]:
    """Return the stores whose upload failed by itself, not because another one did."""
    return [
        name.partition(":")[2]
        for name, item in failures.items()
        if name.startswith("upload:") and not item.check(errors.Cancelled, errors.Gone, errors.LockLost)
    ]


def describe(failures: Mapping[str, Any]) -> str:
    """Return one sentence for people: the message of the first cause."""
    cause = first_cause(failures)
    return str(cause) if cause is not None else "the run was undone"
