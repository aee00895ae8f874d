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

from oslo_config import cfg
from tooz import ToozError, coordination

from glance_flows import errors

LOG = logging.getLogger(__name__)
#: How many scrubbers can show themselves at once; more run unseen, and as safely.
PLACES = 32
_NAME = "glance-scrubber"


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
    def scrubbing(self) -> Iterator[bool]:
        """Be seen as a running scrubber for as long as the block lasts; tell whether there was a place left."""
        with self._started() as backend:
            for number in range(PLACES):
                lock = backend.get_lock(f"{_NAME}-{number}".encode())
                if lock.acquire(blocking=False):
                    break
            else:
                LOG.warning("There are %d scrubbers already: this one is not seen by --restore", PLACES)
                yield False
                return
            try:
                yield True
            finally:
                lock.release()

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
                held.callback(lock.release)
            yield

    @contextlib.contextmanager
    def _started(self) -> Iterator[Any]:
        member = f"{socket.gethostname()}-{uuid.uuid4()}".encode()
        try:
            if self._url.startswith("file://"):
                Path(self._url.removeprefix("file://").partition("?")[0]).mkdir(parents=True, exist_ok=True)
            backend = coordination.get_coordinator(self._url, member)
            backend.start(start_heart=True)
        except (ToozError, OSError) as failure:
            shown = errors.redact(self._url)
            raise errors.ConfigurationError(
                f"[glance_flows] coordination_url: {shown} cannot be used: {failure}"
            ) from failure
        try:
            yield backend
        finally:
            with contextlib.suppress(ToozError):
                backend.stop()
