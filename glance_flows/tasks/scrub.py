"""Tasks that remove the data of deleted images, a page of images at a time (law 9)."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from glance_flows import errors, states
from glance_flows.task import CancelToken, Task
from glance_flows.tasks.hold import Hold

LOG = logging.getLogger(__name__)


class ClaimPage(Task):
    """Claim the next pending images that nobody holds; provides ``page``, their ids."""

    default_provides = "page"

    def execute(self, db: Any, run_id: str, candidates: list[str], live: bool) -> list[str]:
        """Claim them.

        Claims on images that live on get a task row, without which a glance-api would take them for dead.
        """
        if live:
            db.claims.open_task(run_id)
        page: list[str] = db.pending.claim(run_id, candidates, live=live)
        return page

    def revert(self, db: Any, run_id: str, candidates: list[str], live: bool) -> None:
        """Drop the claims: the next pass takes what is left."""
        db.pending.release(run_id, candidates)
        if live:
            db.claims.close_task(run_id, states.TASK_FAILURE)


class CloseTask(Task):
    """Finish the task row of a run over images that live on."""

    irreversible = True

    def execute(self, db: Any, run_id: str, live: bool) -> bool:
        """Finish it, where there is one."""
        if live:
            db.claims.close_task(run_id, states.TASK_SUCCESS)
        return live


class RemoveShare(Task):
    """Removes the data of one share of a page, one location after the other, and buries the images that are empty.

    Removing data cannot be undone; a share that is interrupted leaves every location either gone and noted, or gone and
    still pending, which the next pass finds missing (S8).

    :param number: which share
    :param of: how many there are
    """

    irreversible = True

    def __init__(self, number: int, of: int) -> None:
        super().__init__(str(number), provides=f"share_{number:03d}")
        self._number, self._of = number, of

    def execute(
        self,
        db: Any,
        stores: Any,
        cancel: CancelToken,
        run_id: str,
        page: list[str],
        store: str | None,
        lease: float,
        live: bool,
        without: list[str],
    ) -> dict[str, Any]:
        """Return a report: images buried, locations emptied, bytes freed, and what failed."""
        share = page[self._number :: self._of]
        removal = _Removal(stores, set(without))
        report = removal.report
        if not share:
            return report.to_json()
        with Hold(lambda: db.pending.renew(run_id, share, live=live), lease) as hold:
            for item in db.pending.doomed(run_id, share, store):
                if cancel.reason is not None:
                    break
                if hold.sure(item.image_id):
                    removal.remove(item)
                else:
                    LOG.warning("Image %s was taken over by somebody else and is left to him", item.image_id)
            # A deletion that was given up may still happen: until its claim is void, nobody is to restore the image.
            free = [image_id for image_id in share if image_id not in removal.hanging]
            report.images = db.pending.finish(run_id, free, removal.gone)
        return report.to_json()


@dataclass
class _Report:
    """What a share did."""

    images: int = 0
    locations: int = 0
    freed: int = 0
    missing: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def fail(self, item: Any, why: str) -> None:
        LOG.error("The data of image %s in the store %s is left: %s", item.image_id, item.store, why)
        self.failures.append({"image": item.image_id, "store": item.store, "error": why})

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


class _Removal:
    """Removes one location after the other.

    :param stores: the stores of this host
    :param silent: names of those that do not answer and are not asked again
    """

    def __init__(self, stores: Any, silent: Iterable[str]) -> None:
        self._stores = stores
        self._silent = set(silent)
        self.report = _Report()
        self.gone: list[int] = []
        self.hanging: set[str] = set()

    def remove(self, item: Any) -> None:
        """Remove the data of a location, or note why it is left (S7, S8, S9, S10)."""
        if item.location is None:
            self.report.fail(item, "its URL does not decrypt with metadata_encryption_key.")
            return
        try:
            store = self._stores.holding(item.location)
            if store.name in self._silent:
                raise errors.StoreError(f"the store {store.name} did not answer a moment ago.")
            self._delete(store, item)
        except errors.StoreTimeout as failure:
            # Each of its other objects would take as long again; the next pass asks it anew.
            self._silent.add(store.name)
            self.report.silent.append(store.name)
            self.hanging.add(item.image_id)
            self.report.fail(item, str(failure))
        except errors.GlanceFlowsError as failure:
            self.report.fail(item, str(failure))

    def _delete(self, store: Any, item: Any) -> None:
        try:
            store.delete(item.location.url)
            self.report.freed += item.size or 0
        except errors.StoreDataMissing:
            LOG.info("The data of image %s in the store %s was gone already", item.image_id, store.name)
            self.report.missing += 1
        self.gone.append(item.location_id)
        self.report.locations += 1
