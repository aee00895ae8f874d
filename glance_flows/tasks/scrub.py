"""Tasks that remove the data of deleted images, a page of images at a time (law 9)."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from glance_flows import errors, states
from glance_flows.task import CancelToken, Task
from glance_flows.tasks.hold import Hold

LOG = logging.getLogger(__name__)
#: How many images are read, and noted as done, at a time.
_PORTION = 250


class ClaimPage(Task):
    """Claim the next pending images that nobody holds; provides ``page``, their ids, and ``since``, when that was.

    A moment of this process's clock, for a flow that does not outlive the process.

    :param hanging: images with a deletion that was given up, as :class:`RemovePage` finds them
    """

    default_provides = ("page", "since")

    def __init__(self, hanging: set[str]) -> None:
        super().__init__()
        self._hanging = hanging

    def execute(
        self, db: Any, run_id: str, candidates: list[str], live: bool, until: str | None
    ) -> tuple[list[str], float]:
        """Claim them.

        Claims on images that live on get a task row, without which a glance-api would take them for dead.
        """
        if live:
            db.claims.open_task(run_id)
        since = time.monotonic()
        return db.pending.claim(run_id, candidates, live=live, before=_moment(until)), since

    def revert(self, db: Any, run_id: str, candidates: list[str], live: bool) -> None:
        """Drop the claims: the next pass takes what is left.

        What may still be deleted stays claimed until the claim is void, or it could be restored meanwhile (R8).
        """
        db.pending.release(run_id, set(candidates) - self._hanging)
        if live:
            db.claims.close_task(run_id, states.TASK_FAILURE)


def _moment(until: str | None) -> datetime | None:
    return None if until is None else datetime.fromisoformat(until)


class CloseTask(Task):
    """Finish the task row of a run over images that live on."""

    irreversible = True

    def execute(self, db: Any, run_id: str, live: bool) -> bool:
        """Finish it, where there is one."""
        if live:
            db.claims.close_task(run_id, states.TASK_SUCCESS)
        return live


class RemovePage(Task):
    """Removes the data of a page, several images at once, and buries the images that are empty; provides ``removed``.

    Removing data cannot be undone; a page that is interrupted leaves every location either gone and noted, or gone and
    still pending, which the next pass finds missing (S8).

    :param pool_size: how many images are worked on at once (S5)
    :param hanging: has the images added that have a deletion which was given up
    """

    irreversible = True
    default_provides = "removed"

    def __init__(self, pool_size: int, hanging: set[str]) -> None:
        super().__init__()
        self._pool_size = pool_size
        self._hanging = hanging

    def execute(
        self,
        db: Any,
        stores: Any,
        cancel: CancelToken,
        run_id: str,
        page: list[str],
        since: float,
        store: str | None,
        lease: float,
        live: bool,
        without: list[str],
        until: str | None,
    ) -> dict[str, Any]:
        """Return a report: images buried, locations emptied, bytes freed, and what failed."""
        if not page:
            return PageReport().to_json()
        with Hold(lambda: db.pending.renew(run_id, page, live=live), lease, (page, since)) as hold:
            chosen = {"store": store, "live": live, "before": _moment(until)}
            removal = _Removal(db.pending, run_id, stores, without, hold, cancel, self._hanging)
            removal.remove(page, chosen, self._pool_size)
        return removal.report.to_json()


@dataclass
class PageReport:
    """What was done with a page."""

    images: int = 0
    locations: int = 0
    freed: int = 0
    missing: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return dict(vars(self))


class _Removal:
    """Removes the data of images, several at once, and notes it meanwhile: the database and the stores take their time
    side by side.

    :param pending: the rows of pending images
    :param run_id: the run that has claimed them
    :param stores: the stores of this host
    :param silent: names of those that do not answer and are not asked again
    :param hold: tells which images the run still has
    :param cancel: tells whether it is to stop
    :param hanging: has the images added that have a deletion which was given up
    """

    def __init__(
        self,
        pending: Any,
        run_id: str,
        stores: Any,
        silent: Iterable[str],
        hold: Hold,
        cancel: CancelToken,
        hanging: set[str],
    ) -> None:
        self._pending = pending
        self._run_id = run_id
        self._stores = stores
        self._silent = set(silent)
        self._hold = hold
        self._cancel = cancel
        self._lock = threading.Lock()
        self._done: list[str] = []
        self._gone: list[int] = []
        self._hanging = hanging
        self.report = PageReport()

    def remove(self, page: list[str], chosen: dict[str, Any], pool_size: int) -> None:
        """Remove the data of a page, and bury the images that have none left.

        :param chosen: which locations of the images are meant, as :meth:`Pending.doomed` is told
        """
        with self._stores.crew(self._empty, self._leave, pool_size) as crew:
            for start in range(0, len(page), _PORTION):
                crew.give(self._read(page[start : start + _PORTION], chosen))
                self._note(_PORTION)
            while not crew.wait():
                self._note(_PORTION)
        self._note(0)

    def _read(self, portion: list[str], chosen: dict[str, Any]) -> Iterable[deque[Any]]:
        """Return the locations of each image, in their order; an image without any is done."""
        images: dict[str, deque[Any]] = {image_id: deque() for image_id in portion}
        for item in self._pending.doomed(self._run_id, portion, **chosen):
            images[item.image_id].append(item)
        with self._lock:
            self._done += [image_id for image_id, places in images.items() if not places]
        return [places for places in images.values() if places]

    def _note(self, least: int) -> None:
        """Note what is done, if it is as many images as that; with 0 whatever there is."""
        with self._lock:
            if len(self._done) < least or not (self._done or self._gone):
                return
            done, self._done = self._done, []
            gone, self._gone = self._gone, []
            # A deletion that was given up may still happen: until its claim is void, nobody may restore the image.
            done = [image_id for image_id in done if image_id not in self._hanging]
        self.report.images += self._pending.finish(self._run_id, done, gone)

    def _empty(self, places: deque[Any]) -> bool:
        """Remove the data of an image; each location stays in the queue until that is done.

        :return: whether there is a portion to be noted
        """
        image_id = places[0].image_id
        while places and self._cancel.reason is None:
            if self._hold.sure(image_id):
                self._remove(places[0])
            else:
                LOG.warning("Image %s was taken over by somebody else and is left to him", image_id)
            places.popleft()
        with self._lock:
            self._done.append(image_id)
            return len(self._done) >= _PORTION

    def _leave(self, places: deque[Any], failure: errors.StoreTimeout) -> deque[Any] | None:
        """Note that the store of the first location does not answer, and go on with the others of the image."""
        item = places.popleft()
        self._hangs(self._stores.holding(item.location).name, item, failure)
        return places or None

    def _remove(self, item: Any) -> None:
        """Remove the data of a location, or note why it is left (S7, S8, S9, S10)."""
        if item.location is None:
            self._fail(item, "its URL does not decrypt with metadata_encryption_key.")
            return
        try:
            store = self._stores.holding(item.location)
            if store.name in self._silent:
                raise errors.StoreError(f"the store {store.name} did not answer a moment ago.")
            self._delete(store, item)
        except errors.StoreTimeout as failure:
            self._hangs(store.name, item, failure)
        except errors.GlanceFlowsError as failure:
            self._fail(item, str(failure))

    def _delete(self, store: Any, item: Any) -> None:
        freed, missing = item.size or 0, 0
        try:
            store.delete(item.location.url)
        except errors.StoreDataMissing:
            LOG.info("The data of image %s in the store %s was gone already", item.image_id, store.name)
            freed, missing = 0, 1
        with self._lock:
            self._gone.append(item.location_id)
            self.report.locations += 1
            self.report.missing += missing
            self.report.freed += freed

    def _hangs(self, store: str, item: Any, failure: errors.StoreTimeout) -> None:
        """Each other object of the store would take as long again; the next pass asks it anew."""
        with self._lock:
            if store not in self._silent:
                self.report.silent.append(store)
            self._silent.add(store)
            self._hanging.add(item.image_id)
        self._fail(item, str(failure))

    def _fail(self, item: Any, why: str) -> None:
        LOG.error("The data of image %s in the store %s is left: %s", item.image_id, item.store, why)
        with self._lock:
            self.report.failures.append({"image": item.image_id, "store": item.store, "error": why})
