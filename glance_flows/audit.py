"""Comparing what the database says with what is there: data without a row, rows without data, and what was left over.

Nothing is changed by looking. What a look cannot settle is told and left alone: the data of an image that this database
does not know may be another Glance's, and a store that has nothing of what it should have may not be mounted.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db.inventory import Held, Place
from glance_flows.persistence.records import OPEN
from glance_flows.ports import Listed
from glance_flows.services import Services

LOG = logging.getLogger(__name__)
_PAGE = 500
_HOLDER = "glance-flows-audit"
#: Statuses in which nothing brings an image data without holding its lock.
_SETTLED = frozenset({states.ACTIVE, states.DEACTIVATED, states.DELETED, states.PENDING_DELETE, states.KILLED})
_STAGED = frozenset({states.UPLOADING, states.IMPORTING, states.SAVING})


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    :param kind: ``data-without-row``, ``row-without-data``, ``unreadable-row``, ``unfinished-upload``, ``staged``,
        ``lock``, ``task``, ``run`` or ``not-looked-at``
    :param what: in words, without credentials
    :param advice: what to do about it
    :param repair: mends it and tells whether it did; None where that is not certain enough
    """

    kind: str
    what: str
    image: str | None = None
    store: str | None = None
    since: datetime | None = None
    advice: str = ""
    repair: Callable[[], bool] | None = field(default=None, repr=False, compare=False)


class Audit:
    """Looks for what is left over.

    :param services: of this host: its database, its stores, its staging area, and its list of runs
    :param age: nothing younger counts, since it may still be under way
    """

    def __init__(self, services: Services, age: timedelta = timedelta(hours=1)) -> None:
        self._services = services
        self._db = services.db
        self._lease = timedelta(seconds=services.conf.glance_flows.lease_seconds)
        self._age = max(age, self._lease)

    def findings(self) -> Iterator[Finding]:
        """Yield what is found; nothing is changed.

        :raises DatabaseError: a database cannot be read
        """
        self._services.persistence.ready()
        yield from self._stores()
        yield from self._rows()
        yield from self.staging()
        yield from self._locks()
        yield from self._tasks()
        yield from self._runs()

    def _stores(self) -> Iterator[Finding]:
        # With URLs that cannot be read nobody knows what they refer to.
        readable = self._db.inventory.comparable and not self._db.inventory.sealed()
        for store in self._services.stores:
            inside = store.inside
            if inside is None:
                yield Finding("not-looked-at", f"a store of type {store.kind} cannot be listed", store=store.name)
                continue
            try:
                for page in _pages(inside.listing()):
                    yield from self._strays(store, page, readable)
                for upload in inside.unfinished():
                    yield from self._unfinished(store, upload)
            except errors.StoreError as failure:
                yield Finding("not-looked-at", str(failure), store=store.name, advice="try again when it answers")

    def _strays(self, store: Any, page: tuple[Listed, ...], readable: bool) -> Iterator[Finding]:
        old = [item for item in page if self._old(item.modified)]
        names = [item.name for item in old]
        used = self._db.inventory.referenced(names, [item.url for item in old])
        known = self._db.inventory.images(names)
        places = self._db.inventory.places_of(names)
        for item in old:
            image = known.get(item.name)
            if item.url in used or (image is not None and image.holder is not None):
                continue
            what = f"{item.size} bytes named {item.name} that no location refers to"
            meant = not readable or any(self._may_mean(each, store, item) for each in places.get(item.name, ()))
            certain = image is not None and image.status in _SETTLED and not meant
            advice = "remove it with --repair" if certain else _advice(image, meant)
            repair = self._removal(store, item) if certain else None
            yield Finding("data-without-row", what, item.name, store.name, item.modified, advice, repair)

    def _may_mean(self, place: Place, store: Any, item: Listed) -> bool:
        """Tell whether a location may refer to an object by another URL than the one it has today.

        The folder of a store was moved, say, or the keys in its URLs were changed. What the location of another store
        says is believed, unless it is the same file by another path.
        """
        if place.location is None or place.store in (None, store.name):
            return True
        try:
            theirs = self._services.stores.holding(place.location).local_path(place.location.url)
            mine = store.local_path(item.url)
            return theirs is not None and mine is not None and os.path.samefile(theirs, mine)
        except FileNotFoundError:
            return False
        except (errors.GlanceFlowsError, OSError):
            return True

    def _removal(self, store: Any, item: Listed) -> Callable[[], bool]:
        def repair() -> bool:
            self._db.claims.hold(_HOLDER, item.name)
            try:
                if item.url in self._db.inventory.referenced([item.name], [item.url]):
                    return False
                places = self._db.inventory.places_of([item.name]).get(item.name, ())
                if any(self._may_mean(each, store, item) for each in places):
                    return False
                store.delete(item.url)
            finally:
                self._db.claims.drop(_HOLDER, item.name)
            return True

        return repair

    def _unfinished(self, store: Any, upload: Listed) -> Iterator[Finding]:
        image = self._db.inventory.images([upload.name]).get(upload.name)
        if not self._old(upload.modified) or (image is not None and image.holder is not None):
            return

        def repair() -> bool:
            self._db.claims.hold(_HOLDER, upload.name)
            try:
                store.abandon(upload.name)
            finally:
                self._db.claims.drop(_HOLDER, upload.name)
            return True

        certain = image is not None and image.status in _SETTLED
        advice = "give it up with --repair" if certain else _advice(image)
        what = f"parts of {upload.name} that were never put together"
        mend = repair if certain else None
        yield Finding("unfinished-upload", what, upload.name, store.name, upload.modified, advice, mend)

    def _rows(self) -> Iterator[Finding]:
        for place in self._db.inventory.places():
            if place.location is None:
                what = f"location {place.location_id} does not decrypt with metadata_encryption_key"
                yield Finding("unreadable-row", what, place.image_id, place.store)
                continue
            try:
                store = self._services.stores.holding(place.location)
                store.size(place.location.url)
            except errors.StoreDataMissing:
                what = f"location {place.location_id} has no data"
                advice = "is the store mounted? copy the image there again, or delete the location with a Glance"
                yield Finding("row-without-data", what, place.image_id, place.store, advice=advice)
            except errors.GlanceFlowsError as failure:
                what = f"location {place.location_id}: {failure}"
                yield Finding("not-looked-at", what, place.image_id, place.store)

    def staging(self) -> Iterator[Finding]:
        """Yield what is left over in this host's staging area."""
        staging = self._services.staging
        for page in _pages(staging.listing()):
            old = [item for item in page if self._old(item.modified)]
            known = self._db.inventory.images([item.name.partition(".")[0] for item in old])
            for item in old:
                image_id = item.name.partition(".")[0]
                image = known.get(image_id)
                if image is not None and (image.status in _STAGED or image.holder is not None):
                    continue
                certain = image is not None and image.status in _SETTLED
                advice = "remove it with --repair" if certain else _advice(image)
                repair = self._unstaging(image_id) if certain else None
                yield Finding("staged", f"{item.size} bytes staged", image_id, None, item.modified, advice, repair)

    def _unstaging(self, image_id: str) -> Callable[[], bool]:
        def repair() -> bool:
            self._db.claims.hold(_HOLDER, image_id)
            try:
                return self._services.staging.remove(image_id)
            finally:
                self._db.claims.drop(_HOLDER, image_id)

        return repair

    def _locks(self) -> Iterator[Finding]:
        for lock in self._db.inventory.dead_locks():
            open_run = self._open_run(lock.holder)
            what = f"held by {lock.holder}, which shows no sign of life"
            advice = f"run resume {lock.holder}" if open_run else "the next import takes it over"
            certain = lock.ours and not open_run and not self._importing(lock.image_id)
            repair = partial(self._db.inventory.drop_lock, lock) if certain else None
            yield Finding(
                "lock", what, lock.image_id, None, lock.since, "drop it with --repair" if certain else advice, repair
            )

    def _tasks(self) -> Iterator[Finding]:
        before = timeutils.utcnow() - self._age
        for task in self._db.inventory.stuck_tasks(before):
            open_run = self._open_run(task.id)
            advice = (
                f"run resume {task.id}" if open_run else "a glance-api gives it up when its image is imported again"
            )
            certain = task.ours and not open_run
            fail = partial(self._db.inventory.fail_task, task.id, before, "Found dead by an audit")
            what = f"task {task.id} is processing, and nobody works on it"
            told = "fail it with --repair" if certain else advice
            yield Finding("task", what, task.image_id, None, task.since, told, fail if certain else None)

    def _runs(self) -> Iterator[Finding]:
        records, after = self._services.persistence.records, ""
        now = timeutils.utcnow()
        while page := records.page(after=after, open_only=True):
            for record in page:
                if record.state == "running" and now - record.renewed_at < self._lease:
                    continue
                what = f"run {record.id} ({record.spec.flow}) is {record.state} and nobody works on it"
                if record.leftovers:
                    what += f"; left behind: {'; '.join(item['what'] for item in record.leftovers)}"
                yield Finding("run", what, record.image_id, None, record.renewed_at, f"run resume {record.id}")
            after = page[-1].id

    def _open_run(self, run_id: str) -> bool:
        try:
            return self._services.persistence.records.get(run_id).state in OPEN
        except errors.NotFound:
            return False

    def _importing(self, image_id: str) -> bool:
        image = self._db.inventory.images([image_id]).get(image_id)
        return image is not None and image.status not in (_SETTLED | {states.QUEUED, states.UPLOADING})

    def _old(self, modified: datetime | None) -> bool:
        return modified is not None and timeutils.utcnow() - modified > self._age


def tidy_staging(services: Services) -> int:
    """Remove what is certainly left over in this host's staging area, and tell how many files that were.

    A run that went on elsewhere when this host was down could not remove what it had staged here (C19).
    """
    removed = 0
    for finding in Audit(services, timedelta(0)).staging():
        try:
            removed += bool(finding.repair and finding.repair())
        except errors.ImageBusy:
            LOG.debug("What is staged for image %s is left to whoever holds the image", finding.image)
    return removed


def _pages(items: Iterator[Listed]) -> Iterator[tuple[Listed, ...]]:
    while page := tuple(islice(items, _PAGE)):
        yield page


def _advice(image: Held | None, meant: bool = False) -> str:
    if image is None:
        return "this database has no such image: is it another Glance's?"
    if meant:
        return "a location may mean it: are metadata_encryption_key and the store's options what they were?"
    return f"its image is {image.status}: an upload may be under way"
