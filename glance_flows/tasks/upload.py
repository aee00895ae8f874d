"""Tasks that put staged bytes into stores, and the count of how it went."""

import logging
from dataclasses import dataclass
from typing import Any

from glance_flows import errors, lease
from glance_flows.images import Staged
from glance_flows.ports import Reading, Store, Stored
from glance_flows.request import ImportRequest
from glance_flows.task import CancelToken, Leftovers, Task

LOG = logging.getLogger(__name__)
_FATAL = (errors.Gone, errors.LockLost)


class Upload(Task):
    """Uploads to one store, verifies, and records the location at once (C17, C21).

    With partial success allowed a failure is a value, and :class:`Tally` decides; otherwise it stops the siblings.

    :param store: name of the store
    :param provides: name of the outcome
    """

    clears_up = True

    def __init__(self, store: str, provides: str) -> None:
        super().__init__(store, provides=provides)

    def execute(
        self,
        db: Any,
        stores: Any,
        notifier: Any,
        cancel: CancelToken,
        progress: Any,
        run_id: str,
        staged: dict[str, Any],
        request: dict[str, Any],
        before: dict[str, Any],
        leftovers: Leftovers,
    ) -> dict[str, Any]:
        """Return the outcome: the store, ``ok`` or ``failed``, and the id of the location or the error."""
        name = str(self.qualifier)
        asked = ImportRequest.from_json(request)
        work = _Work(db, stores.get(name), asked, run_id, Staged.from_json(staged), leftovers)
        try:
            cancel.check()
            progress.begin(name, work.staged.contents.size)
            done = None if name in before["stores"] else work.recorded_before()
            location_id = done or work.upload(Reading(name, cancel, progress))
            progress.finish(name, "done")
            notifier.emit("image.upload", work.announcement())
            return {"store": name, "status": "ok", "location": location_id}
        except errors.Cancelled:
            progress.finish(name, "undone")
            raise
        except errors.GlanceFlowsError as failure:
            progress.finish(name, "failed")
            fatal = asked.all_stores_must_succeed or isinstance(failure, _FATAL)
            if fatal:
                cancel.set(failure)
            if not isinstance(failure, _FATAL):
                work.blame_store(failure)
            if fatal:
                raise
            return {"store": name, "status": "failed", "error": str(failure)}

    def revert(
        self,
        db: Any,
        stores: Any,
        progress: Any,
        image_id: str,
        run_id: str,
        before: dict[str, Any],
        result: Any,
        leftovers: Leftovers,
    ) -> None:
        """Remove the location, then the data (C12).

        What the upload got to is hardly asked: it may have been killed anywhere, and so may an earlier undo. A store
        that had the image before is never touched.
        """
        name = str(self.qualifier)
        if name in before["stores"]:
            return
        work = _Undoing(db, run_id, image_id, name, leftovers)
        if not work.ours():
            return
        try:
            url = db.locations.take_back(image_id, result["location"]) if _has_location(result) else None
            if clear(db, stores.get(name), image_id, url):
                progress.finish(name, "undone")
        except errors.GlanceFlowsError as failure:
            work.left(failure)


@dataclass(frozen=True, slots=True)
class _Work:
    """One upload: the store, the bytes, and the books."""

    db: Any
    store: Store
    asked: ImportRequest
    run_id: str
    staged: Staged
    leftovers: Leftovers

    def recorded_before(self) -> int | None:
        """Return the location that this very task recorded before it was killed; under the lock nobody else does."""
        mine = self.db.locations.in_store(self.asked.image_id, self.store.name)
        return mine[0].id if mine else None

    def upload(self, reading: Reading) -> int:
        """Upload, verify and record; on any error nothing of it remains."""
        try:
            stored = self.store.add(self.asked.image_id, self.staged, reading)
        except errors.StoreDuplicate:
            self._make_room()
            stored = self.store.add(self.asked.image_id, self.staged, reading)
        try:
            verify(self.store.name, self.staged, stored)
            reading.cancel.check()
            return self._record(stored)
        except errors.LockLost:
            # What lies at this place may be the work of the run that took over.
            self.leftovers.add(f"perhaps data of image {self.asked.image_id} in the store {self.store.name}")
            raise
        except errors.DatabaseError:
            self._take_back(stored.url)
            raise
        except BaseException:
            self._remove(stored.url)
            raise

    def _record(self, stored: Stored) -> int:
        visible = self.asked.first_data and not self.asked.all_stores_must_succeed
        activate = self.staged.contents if visible else None
        return int(
            self.db.locations.record(self.run_id, self.asked.image_id, stored.url, stored.metadata, activate=activate)
        )

    def blame_store(self, reason: errors.GlanceFlowsError) -> None:
        """Note in the image that the store failed (C12, C13); what failed is not hidden by a note that cannot be made.

        It is done here since what is undone later hears only of the failures that came before the first was noticed.
        """
        # Where one failure fails the whole, it is told at the end; where the others go on, it is told here.
        level = logging.INFO if self.asked.all_stores_must_succeed else logging.WARNING
        LOG.log(level, "Image %s could not be stored in %s: %s", self.asked.image_id, self.store.name, reason)
        try:
            self.db.locations.fail(self.run_id, self.asked.image_id, self.store.name)
        except errors.GlanceFlowsError as failure:
            LOG.warning("The image cannot be told that the store failed: %s", failure)

    def announcement(self) -> dict[str, Any]:
        """Return the payload of the notification that the store has the image (C18)."""
        contents = self.staged.contents
        return {
            "id": self.asked.image_id,
            "run": self.run_id,
            "store": self.store.name,
            "size": contents.size,
            "checksum": contents.checksum,
            "os_hash_algo": contents.hash_algo,
            "os_hash_value": contents.hash_value,
        }

    def _remove(self, url: str) -> None:
        """Take back what was just stored; what cannot be is recorded, and the reason of the failure stays (F6)."""
        try:
            lease.sure()
            self.store.delete(url)
        except errors.StoreDataMissing:
            LOG.info("The store %s has nothing of image %s to take back", self.store.name, self.asked.image_id)
        except errors.GlanceFlowsError as failure:
            self.leftovers.add(f"the data of image {self.asked.image_id} in the store {self.store.name}", failure)

    def _take_back(self, url: str) -> None:
        """Take back what may have been recorded, for all that anybody knows: the row goes before the data."""
        work = _Undoing(self.db, self.run_id, self.asked.image_id, self.store.name, self.leftovers)
        try:
            if work.ours():
                clear(self.db, self.store, self.asked.image_id, url)
        except errors.GlanceFlowsError as failure:
            work.left(failure)

    def _make_room(self) -> None:
        """Remove an object of the image's name that no live location refers to: what a killed upload left, say (law 4).

        :raises StoreDuplicate: something refers to it, or it cannot be found
        """
        image_id, store = self.asked.image_id, self.store
        if store.url_of(image_id) is None:
            raise errors.StoreDuplicate(
                f"the store {store.name} has an object named {image_id} that no image refers to."
            )
        if self.db.locations.in_store(image_id, store.name) or not clear(self.db, store, image_id):
            raise errors.StoreDuplicate(f"the store {store.name} already has the data of image {image_id}.")
        LOG.warning("The store %s had a stray object named %s: it is replaced", store.name, image_id)


@dataclass(frozen=True, slots=True)
class _Undoing:
    """The way back of one upload: whether it may be gone, and what stays behind."""

    db: Any
    run_id: str
    image_id: str
    store: str
    leftovers: Leftovers

    def ours(self) -> bool:
        """Tell whether nobody else has the image now; otherwise what there is may be theirs, and is noted."""
        sign = self.db.claims.look([self.image_id]).get(self.image_id)
        if sign is None or sign.gone or sign.holder == self.run_id:
            return True
        holder = sign.holder or "nobody"
        self.leftovers.add(
            f"the data of image {self.image_id} in the store {self.store}, while {holder} holds the image"
        )
        return False

    def left(self, failure: Exception) -> None:
        """Note what could not be removed."""
        self.leftovers.add(f"the data of image {self.image_id} in the store {self.store}", failure)


def _has_location(result: Any) -> bool:
    return isinstance(result, dict) and result.get("location") is not None


def clear(db: Any, store: Store, image_id: str, taken_back: str | None = None) -> bool:
    """Remove whatever a store has of an image: the rows of its locations, then its object; tell whether there was one.

    An upload that was killed in the middle is given up, too.

    An object that a location of another image refers to stays.

    :param taken_back: the URL of a location whose row is gone already
    """
    lease.sure()  # what was asked before may have taken longer than a lease, and this cannot be taken back
    store.abandon(image_id)
    urls = set() if taken_back is None else {taken_back}
    for place in db.locations.in_store(image_id, store.name):
        urls.add(place.url)
        db.locations.take_back(image_id, place.id)
    url = store.url_of(image_id)
    if url is not None and not db.locations.used_elsewhere(image_id, url):
        urls.add(url)
    pending = [place for place in db.locations.of(image_id) if place.url in urls]
    found = False
    for each in urls:
        lease.sure()
        try:
            store.delete(each)
            found = True
        except errors.StoreDataMissing:
            LOG.debug("The store %s has nothing of image %s", store.name, image_id)
    for place in pending:
        db.locations.mark_deleted(place.id)
    return found


class Tally(Task):
    """Counts the outcomes of the uploads; provides ``tally``.

    :param outcomes: the names of the outcomes
    """

    default_provides = "tally"

    def __init__(self, outcomes: list[str]) -> None:
        super().__init__(requires=outcomes)

    def execute(self, **outcomes: dict[str, Any]) -> dict[str, Any]:
        """Return which stores have the image, the ids of the locations, and a message.

        :raises NoStoreSucceeded: none has it (C14)
        """
        results = [outcomes[name] for name in sorted(outcomes) if name.startswith("outcome_")]
        done = [result for result in results if result["status"] == "ok"]
        failed = [result for result in results if result["status"] != "ok"]
        told = "; ".join(result["error"] for result in failed)
        if not done:
            raise errors.NoStoreSucceeded(f"no store took the image: {told}")
        return {
            "done": [result["store"] for result in done],
            "failed": [result["store"] for result in failed],
            "locations": [result["location"] for result in done],
            "message": f"Some stores failed: {told}" if failed else "",
        }


def verify(store: str, staged: Staged, stored: Stored) -> None:
    """Make sure that the store took what was staged (C21).

    :raises VerificationFailed: naming what differs
    """
    contents = staged.contents
    pairs = {
        "size": (contents.size, stored.size),
        "checksum": (contents.checksum, stored.checksum),
        contents.hash_algo: (contents.hash_value, stored.hash_value),
    }
    for name, (sent, taken) in pairs.items():
        if taken is not None and sent != taken:
            raise errors.VerificationFailed(
                f"the store {store} took other data than was sent: {name} {taken}, not {sent}."
            )
