"""Holding what a run has claimed while stores take their time: renewed beside the work, and never assumed."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from glance_flows import errors

LOG = logging.getLogger(__name__)


class Hold:
    """Renews the claims of a run for as long as the block lasts.

    A store may take longer for one object than a claim lasts, and a process may stand still for minutes. So the claims
    are renewed from a thread, and whoever is about to do what cannot be undone asks :meth:`sure` first (R8).

    :param renew: renews the claims and returns the ids of the images that the run still has
    :param lease: seconds that a claim lasts
    :param claimed: ids of images that were claimed just now, and when that was begun by :func:`time.monotonic`; None
        where that is not known, and the claims are renewed first
    """

    def __init__(
        self, renew: Callable[[], Iterable[str]], lease: float, claimed: tuple[Iterable[str], float] | None = None
    ) -> None:
        self._ask = renew
        self._lease = lease
        self._lock = threading.Lock()
        self._known = claimed is not None
        ids, since = claimed or ((), 0.0)
        self._mine = frozenset(ids)
        self._until = self._safe_until(since)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="hold", daemon=True)

    def __enter__(self) -> Self:
        if not self._known:
            self._renew()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def sure(self, image_id: str) -> bool:
        """Tell whether the run has an image and will have it for a while.

        :raises DatabaseError: that cannot be found out
        """
        if time.monotonic() > self._until:
            self._renew()
        return image_id in self._mine

    def _renew(self) -> None:
        with self._lock:
            asked = time.monotonic()
            self._mine = frozenset(self._ask())
            self._until = self._safe_until(asked)

    def _safe_until(self, asked: float) -> float:
        """Some databases keep whole seconds only, and what is begun in time must end before others take over."""
        return asked + self._lease / 2

    def _beat(self) -> None:
        while not self._stop.wait(self._lease / 4):
            try:
                self._renew()
            except errors.GlanceFlowsError as failure:
                LOG.warning("Claims could not be renewed: %s", failure)
