"""Where the image of a quickstart comes from: a disk made on the spot, a file, or the web."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3

from glance_flows import errors
from glance_flows.quickstart import disk, server
from glance_flows.quickstart.folder import Folder

_WAIT_SECONDS = 20.0
_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Offer:
    """An image that web-download can fetch.

    :param url: where
    :param name: for the image
    :param disk_format: of its data
    :param places: every host and port that the fetch touches
    :param told: one line about it
    """

    url: str
    name: str
    disk_format: str
    places: tuple[tuple[str, int], ...]
    told: str


@contextlib.contextmanager
def offered(image: str | None, folder: Folder) -> Iterator[Offer]:
    """Offer an image for as long as the block runs.

    :param image: a file, or a URL of http or https; None makes a disk
    :raises SourceFailed, BadRequest: it cannot be read
    """
    if image is not None and urlsplit(image).scheme in _PORTS:
        yield _on_the_web(image)
        return
    if image is None:
        file = folder.path / "disk.raw"
        made = disk.make(file)
        told = f"{file.name}, 64 MiB with a partition table" + ("" if made else " (from last time)")
    else:
        file = Path(os.path.abspath(image))
        told = str(file)
    try:
        with open(file, "rb") as source:
            disk_format = disk.format_of(source.read(disk.HEAD))
    except OSError as failure:
        raise errors.SourceFailed(f"cannot read {image}: {failure.strerror}.") from failure
    with server.serving(file, folder.ports()) as url:
        yield Offer(url, file.name, disk_format, (_place(url),), told)


def _on_the_web(url: str) -> Offer:
    """Look at the first bytes, and at every server that the way to them leads over."""
    start, places = url, []
    with urllib3.PoolManager(retries=False, timeout=_WAIT_SECONDS, headers={"Accept-Encoding": "identity"}) as pool:
        for _ in range(_REDIRECTS + 1):
            places.append(_place(url))
            try:
                answer = pool.request("GET", url, redirect=False, preload_content=False)
                head = b"" if answer.get_redirect_location() else answer.read(disk.HEAD)
            except urllib3.exceptions.HTTPError as failure:
                reason = str(getattr(failure, "reason", None) or failure).rsplit(": ", 1)[-1]
                raise errors.SourceFailed(f"cannot fetch {_shown(url)}: {reason.rstrip('.')}.") from failure
            answer.close()
            target = answer.get_redirect_location()
            if not target:
                break
            url = urljoin(url, target)
        else:
            raise errors.SourceFailed(f"{_shown(start)} redirects more than {_REDIRECTS} times.")
    if answer.status != 200:
        raise errors.SourceFailed(f"cannot fetch {_shown(url)}: the server answers {answer.status}.")
    name = Path(urlsplit(start).path).name or str(urlsplit(start).hostname)
    return Offer(start, name[:255], disk.format_of(head), tuple(places), _shown(start))


def _place(url: str) -> tuple[str, int]:
    """Return the host and port of a URL.

    :raises BadRequest: it has none, or carries a password
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as failure:
        raise errors.BadRequest(f"--image: the URL is malformed: {failure}.") from failure
    if not parts.hostname or port is None:
        raise errors.BadRequest("--image: name a file, or an http or https URL with a host.")
    if parts.username is not None or parts.password is not None:
        raise errors.BadRequest("--image: the URL must not hold a user name or password: it is kept with the task.")
    return parts.hostname, port


def _shown(url: str) -> str:
    """Return a URL without its query, which may hold a signature."""
    return url.partition("?")[0]
