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


def describe(failures: Mapping[str, Any], reason: BaseException | None) -> str:
    """Return one sentence for people: the message of the first cause.

    :param reason: why the run was told to stop, which is the cause where its tasks only stopped
    """
    cause = first_cause(failures)
    if cause is None or isinstance(cause, errors.Cancelled):
        cause = reason or cause
    return str(cause) if cause is not None else "the run was undone"
