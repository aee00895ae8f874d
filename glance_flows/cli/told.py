"""Errors as the user is told them: one sentence on standard error, a traceback only with ``--debug``."""

import contextlib
import sys
import traceback

from glance_flows import errors

_HINTS: dict[type[errors.GlanceFlowsError], str] = {
    errors.NotFound: "glance-flows image list shows those there are.",
    errors.NoSuchRun: "glance-flows run list --all shows those that are remembered.",
    errors.DatabaseError: "Look at [database] connection.",
    errors.StateUnavailable: "Look at [glance_flows] persistence_connection and state_path.",
}


def sentence(failure: BaseException) -> str:
    """Return what went wrong, on one line and without credentials (F2)."""
    if isinstance(failure, errors.GlanceFlowsError):
        hint = _HINTS.get(type(failure))
        text = f"{str(failure).rstrip('.')}. {hint}" if hint else str(failure)
    elif isinstance(failure, OSError) and failure.strerror:
        text = f"{failure.filename}: {failure.strerror}" if failure.filename else failure.strerror
    else:
        text = f"something unforeseen happened: {type(failure).__name__}: {failure}; --debug shows where."
    return errors.redact(" ".join(text.split()))


def tell(failure: BaseException, *, debug: bool) -> None:
    """Write the sentence, and with ``debug`` the traceback before it."""
    if debug:
        say(errors.redact("".join(traceback.format_exception(failure))).rstrip())
    say(f"glance-flows: {sentence(failure)}")


def say(text: str) -> None:
    """Write a line on standard error, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)
