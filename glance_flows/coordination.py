"""Who else is at work: locks that die with their process, on this host or on every host that shares the backend (R2).

Correctness never rests on them: an image is protected by its claim in the database. They answer one question, whether a
scrubber is running, and they answer it for as many scrubbers as there are: each holds one of a row of places.
"""

import contextlib
import logging
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from oslo_config import cfg
from oslo_utils import netutils
from stevedore.exception import NoMatches
from tooz import ToozError, coordination

from glance_flows import errors

LOG = logging.getLogger(__name__)
#: How many scrubbers can show themselves at once; more run unseen, and as safely.
PLACES = 32
_NAME = "glance-scrubber"


class Place:
    """By which a running scrubber is seen."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._lock: Any = None

    def take(self) -> bool:
        """Be seen from now on, if this scrubber is not yet or no longer; tell whether it is.

        A restore has all the places for a moment, and a backend may forget them. The scrubber works on as safely.
        """
        try:
            if self._lock is not None and _still_held(self._lock):
                return True
            self.leave()
            for number in range(PLACES):
                lock = self._backend.get_lock(f"{_NAME}-{number}".encode())
                if lock.acquire(blocking=False):
                    self._lock = lock
                    return True
            LOG.warning("All %d places of scrubbers are taken: --restore does not see this one", PLACES)
        except ToozError as failure:
            LOG.warning("--restore does not see this scrubber: %s", failure)
        return False

    def leave(self) -> None:
        """Be seen no longer."""
        lock, self._lock = self._lock, None
        if lock is not None:
            _release(lock)


class Coordinator:
    """Shows the scrubbers of all hosts to each other.

    :param url: of a tooz backend: ``file:///path``, ``redis://…``, ``postgresql://…``, ``mysql://…``
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> "Coordinator":
        """Return the coordinator of ``[glance_flows] coordination_url``; by default files below ``state_path``."""
        own = conf.glance_flows
        return cls(own.coordination_url or f"file://{Path(own.state_path).absolute()}/coordination")

    @contextlib.contextmanager
    def scrubbing(self) -> Iterator["Place"]:
        """Be seen as a running scrubber for as long as the block lasts."""
        with self._started() as backend:
            place = Place(backend)
            place.take()
            try:
                yield place
            finally:
                place.leave()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every scrubber from starting to be seen for as long as the block lasts.

        :raises Conflict: one is running (R2)
        """
        with self._started() as backend, contextlib.ExitStack() as held:
            for number in range(PLACES):
                lock = backend.get_lock(f"{_NAME}-{number}".encode())
                if not lock.acquire(blocking=False):
                    raise errors.Conflict("glance-scrubber is already running")
                held.callback(_release, lock)
            yield

    @contextlib.contextmanager
    def _started(self) -> Iterator[Any]:
        member = f"{socket.gethostname()}-{uuid.uuid4()}".encode()
        try:
            if self._url.startswith("file://"):
                Path(self._url.removeprefix("file://").partition("?")[0]).mkdir(parents=True, exist_ok=True)
            backend = _driver(self._url, member)
            backend.start(start_heart=True)
        except (ToozError, OSError, NoMatches) as failure:
            shown = errors.redact(self._url)
            raise errors.ConfigurationError(
                f"[glance_flows] coordination_url: {shown} cannot be used: {failure}"
            ) from failure
        try:
            yield backend
        finally:
            with contextlib.suppress(ToozError):
                backend.stop()


def _driver(url: str, member: bytes) -> Any:
    """Return tooz's driver for a URL; that of files by its name, for to search through all that is installed takes as
    long as a hundred images do."""
    parsed = netutils.urlsplit(url)
    if parsed.scheme != "file":
        return coordination.get_coordinator(url, member)
    from tooz.drivers.file import FileDriver

    return FileDriver(member, parsed, parse_qs(parsed.query))


def _still_held(lock: Any) -> bool:
    try:
        return bool(lock.is_still_owner())
    except NotImplementedError:
        return True  # a backend that ties its locks to the connection


def _release(lock: Any) -> None:
    """Release a lock; one whose backend went away is released by its time-out."""
    try:
        lock.release()
    except ToozError as failure:
        LOG.warning("A lock could not be released and is left to its time-out: %s", failure)
