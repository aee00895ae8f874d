"""web-download: the data is fetched over http or https, by the operator's filters (C23)."""

import contextlib
import logging
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import urllib3

from glance_flows import ImportMethod, ImportRequest, Task, errors, states
from glance_flows.tasks import Source, Stage

LOG = logging.getLogger(__name__)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = 5


class WebDownload(ImportMethod):
    """Imports from a URI."""

    statuses = frozenset({states.QUEUED})

    def check(self, request: ImportRequest, conf: Any) -> None:
        """Refuse a URI that is malformed or that the filters do not allow.

        :raises BadRequest: naming the field ``uri``
        """
        if request.uri is None:
            raise errors.BadRequest("uri: web-download needs one.")
        check_uri(request.uri, conf)

    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the task that fetches the data."""
        return [Download()]


class Download(Stage):
    """Streams a URI into the staging area."""

    stages_again = True

    @contextlib.contextmanager
    def source(self, request: ImportRequest, conf: Any) -> Iterator[Source]:
        """Open the URI, following redirects that the filters allow.

        :raises SourceFailed: the server cannot be reached, answers with an error, or stops in the middle
        """
        timeout = urllib3.Timeout(connect=conf.glance_flows.http_timeout, read=conf.glance_flows.http_timeout)
        headers = {"Accept-Encoding": "identity", "User-Agent": "glance-flows"}
        with urllib3.PoolManager(timeout=timeout, headers=headers, retries=False) as pool:
            response = _open(pool, str(request.uri), conf)
            try:
                size = _size(response)
                yield Source(_chunks(response, conf.glance_flows.chunk_size), size, lambda: _stop(response))
            finally:
                response.close()


def check_uri(uri: str, conf: Any) -> None:
    """Hold a URI against ``[import_filtering_opts]``.

    :raises BadRequest: it is no http or https URI, carries a password, or is not allowed
    """
    try:
        parts = urllib.parse.urlsplit(uri)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError as failure:
        raise errors.BadRequest(f"uri: it is malformed: {failure}.") from failure
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise errors.BadRequest("uri: must be an http or https URI with a host.")
    if parts.username is not None or parts.password is not None:
        raise errors.BadRequest("uri: must not hold a user name or password: it is kept with the task.")
    filters = conf.import_filtering_opts
    checks = (
        ("scheme", parts.scheme, filters.allowed_schemes, filters.disallowed_schemes),
        ("host", parts.hostname, filters.allowed_hosts, filters.disallowed_hosts),
        ("port", port, filters.allowed_ports, filters.disallowed_ports),
    )
    for what, value, allowed, disallowed in checks:
        if (allowed and value not in allowed) or (not allowed and value in disallowed):
            raise errors.BadRequest(f"uri: the {what} {value} is not allowed by [import_filtering_opts].")


def _open(pool: urllib3.PoolManager, uri: str, conf: Any) -> urllib3.BaseHTTPResponse:
    for _ in range(_REDIRECTS + 1):
        try:
            response = pool.request("GET", uri, redirect=False, preload_content=False)
        except urllib3.exceptions.HTTPError as failure:
            raise errors.SourceFailed(f"cannot fetch {_shown(uri)}: {_reason(failure)}") from failure
        target = response.get_redirect_location()
        if not target:
            if response.status != 200:
                response.close()
                raise errors.SourceFailed(f"cannot fetch {_shown(uri)}: the server answers {response.status}.")
            return response
        response.close()
        uri = urllib.parse.urljoin(uri, target)
        try:
            check_uri(uri, conf)
        except errors.BadRequest as failure:
            raise errors.SourceFailed(f"the server redirects to where it must not: {failure}") from failure
    raise errors.SourceFailed(f"the server redirects more than {_REDIRECTS} times.")


def _size(response: urllib3.BaseHTTPResponse) -> int | None:
    """Return how many bytes the server announces, None where it does not.

    :raises SourceFailed: it announces what cannot be, or encodes the data although it was asked not to
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise errors.SourceFailed(f"the server sends the data encoded as {encoding}, which it was asked not to.")
    length = response.headers.get("Content-Length")
    if length is not None and not length.strip().isdigit():
        raise errors.SourceFailed(f"the server announces a Content-Length of {length!r}.")
    return int(length) if length is not None else None


def _chunks(response: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
    try:
        yield from response.stream(size, decode_content=False)
    except urllib3.exceptions.HTTPError as failure:
        raise errors.SourceFailed(f"the download stopped in the middle: {_reason(failure)}") from failure


def _stop(response: urllib3.BaseHTTPResponse) -> None:
    """End a read that waits for a server; one that is over has nothing to end."""
    try:
        response.shutdown()
    except (ValueError, OSError) as failure:
        LOG.debug("The download is over already: %s", failure)


def _reason(failure: Exception) -> str:
    broken = next((part for part in failure.args if isinstance(part, urllib3.exceptions.IncompleteRead)), None)
    if broken is not None:
        return f"the connection ended {broken.expected} bytes too early."
    text = str(getattr(failure, "reason", None) or next(iter(failure.args), failure))
    return text.rsplit(": ", 1)[-1].rstrip(".") + "."


def _shown(uri: str) -> str:
    """Return a URI without its query, which may hold a signature."""
    return uri.partition("?")[0]
