"""One tree of errors; a class's docstring is its default message.

Each class carries the HTTP status that a service answers with (``status``), so that the command line, a library user
and an HTTP front end tell the same story. An error's ``args`` hold its message and nothing else: errors are stored with
a run, and what is stored must be plain JSON and free of credentials (F2).
"""

import re
import traceback
from http import HTTPStatus
from typing import ClassVar

# Up to the last @: keys of object stores hold slashes. Hiding too much of a path is better than too little of a key.
_CREDENTIALS = re.compile(r"""(?<=://)[^\s"'<>]+@""")


def redact(text: str) -> str:
    """Return ``text`` without the user names and passwords of the URLs in it (F2).

    >>> redact("cannot read s3://key:secret@host/bucket/object")
    'cannot read s3://***@host/bucket/object'
    """
    return _CREDENTIALS.sub("***@", text)


def trace(failure: BaseException) -> str:
    """Return where an exception came from, as Python prints it, without credentials (F2)."""
    return redact("".join(traceback.format_exception(failure)))


class GlanceFlowsError(Exception):
    """The operation failed."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, message: str | None = None) -> None:
        default = (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(redact(message or default))

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigurationError(GlanceFlowsError):
    """The configuration is not valid."""


class DatabaseError(GlanceFlowsError):
    """The database could not be read or written."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class StateUnavailable(DatabaseError):
    """The database of the flows' state cannot be used."""


class BoardUnavailable(GlanceFlowsError):
    """The jobboard cannot be used."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class NoConductor(GlanceFlowsError):
    """No conductor is alive."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class StateLost(DatabaseError):
    """The state of the run could not be saved; it can be resumed from where it was last saved."""


class BadRequest(GlanceFlowsError):
    """The request is malformed."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(GlanceFlowsError):
    """This operation needs an identity and the request has none."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(GlanceFlowsError):
    """The policy does not allow this operation."""

    status = HTTPStatus.FORBIDDEN


class NotFound(GlanceFlowsError):
    """There is no such image."""

    status = HTTPStatus.NOT_FOUND


class NoSuchRun(NotFound):
    """There is no such run."""


class Conflict(GlanceFlowsError):
    """The image is not in a state that allows this operation."""

    status = HTTPStatus.CONFLICT


class ImageBusy(Conflict):
    """Another flow holds the image."""


class StoreUnavailable(Conflict):
    """There is no such store."""


class StoreInUse(Conflict):
    """The store refuses to delete data that is in use."""


class Gone(GlanceFlowsError):
    """The image went away while the operation was under way."""

    status = HTTPStatus.GONE


class TooLarge(GlanceFlowsError):
    """The data is larger than image_size_cap allows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class StoreError(GlanceFlowsError):
    """The store failed."""

    status = HTTPStatus.BAD_GATEWAY


class StoreDataMissing(StoreError):
    """The store does not have this object."""


class StoreFull(StoreError):
    """The store is full."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


class StoreDuplicate(StoreError):
    """The store already has an object of this name."""

    status = HTTPStatus.CONFLICT


class StoreTimeout(StoreError):
    """The store made no progress for too long."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class VerificationFailed(GlanceFlowsError):
    """What the store took is not what was sent."""


class UnsafeImage(GlanceFlowsError):
    """The data is not a safe image of the declared disk_format."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class SourceFailed(GlanceFlowsError):
    """The bytes could not be had from their source."""

    status = HTTPStatus.BAD_GATEWAY


class NoStoreSucceeded(GlanceFlowsError):
    """None of the stores took the image."""


class Cancelled(GlanceFlowsError):
    """The run was cancelled."""

    status = HTTPStatus.CONFLICT


class Suspended(GlanceFlowsError):
    """The run is suspended and can be resumed."""

    status = HTTPStatus.CONFLICT


class LockLost(GlanceFlowsError):
    """The image's lock is no longer held by this run."""

    status = HTTPStatus.CONFLICT


class TaskFailed(GlanceFlowsError):
    """A task failed in a way nobody foresaw."""
