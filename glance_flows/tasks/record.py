"""Tasks that keep the books: survey, lock, progress keys, publication, and the way back."""

import logging
from collections.abc import Callable
from typing import Any

from glance_flows import errors, states
from glance_flows.images import Location, Staged
from glance_flows.request import ImportRequest
from glance_flows.task import CancelToken, Leftovers, Task
from glance_flows.tasks.reasons import describe

LOG = logging.getLogger(__name__)
_DATA_COLUMNS = ("size", "checksum", "os_hash_algo", "os_hash_value", "virtual_size")


class Survey(Task):
    """Check the request once more and note what the image is before anything is touched (law 3); provides ``before``.

    :param check: what the import method has to say of a request; it spoke at the door, which may be long ago
    """

    default_provides = "before"

    def __init__(self, check: Callable[[ImportRequest, Any], None]) -> None:
        super().__init__()
        self._check = check

    def execute(self, db: Any, conf: Any, image_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the image's status, formats, data columns, and the stores that have it.

        :raises BadRequest: the method refuses the request
        :raises Gone: the image went away between the request and its start (C5)
        """
        self._check(ImportRequest.from_json(request), conf)
        try:
            image = db.images.get(image_id)
        except errors.NotFound as failure:
            raise errors.Gone(f"image {image_id} was deleted.") from failure
        if image.gone:
            raise errors.Gone(f"image {image_id} was deleted.")
        kept = ("status", "disk_format", "container_format", *_DATA_COLUMNS)
        return {"stores": image.stores, **{name: getattr(image, name) for name in kept}}


class NothingToDo(Task):
    """Stands for a copy to every store that lacks the image, when none does; provides ``tally``."""

    default_provides = "tally"

    def execute(self, image_id: str) -> dict[str, Any]:
        """Say so."""
        LOG.info("Every store has image %s already", image_id)
        return {"done": [], "failed": [], "locations": [], "message": "Every store has the image already."}


class Lock(Task):
    """Take the image and make the task row that Glance shows; undone last, with the reason of the failure (C9, C25)."""

    def execute(self, db: Any, run_id: str, request: dict[str, Any], before: dict[str, Any]) -> str:
        """Take the lock.

        :raises Gone, Conflict, ImageBusy: nothing was taken and nothing is left
        """
        status = str(db.claims.take(_claim(db, run_id, request)))
        # What another run recorded after the survey and before the lock is not ours to adopt, nor to undo.
        image_id = ImportRequest.from_json(request).image_id
        added = [place.store for place in db.locations.of(image_id) if place.status == states.ACTIVE]
        new = sorted({name for name in added if name is not None}.difference(before["stores"]))
        if new:
            raise errors.Conflict(f"image {image_id} was put into {', '.join(new)} a moment ago; ask again.")
        return status

    def revert(
        self,
        db: Any,
        cancel: CancelToken,
        run_id: str,
        request: dict[str, Any],
        flow_failures: Any,
        leftovers: Leftovers,
    ) -> None:
        """Drop the lock and fail the task, telling why and what could not be undone."""
        message = describe(flow_failures, cancel.reason)
        if leftovers.items:
            message += " Left behind: " + "; ".join(leftovers.items)
        db.claims.release(_claim(db, run_id, request), states.TASK_FAILURE, message)


class Begin(Task):
    """Show in the image that it is imported and whereto (C16); put it back as it was when the import fails (P6)."""

    def execute(self, db: Any, run_id: str, image_id: str, request: dict[str, Any]) -> bool:
        """Set the progress keys, and the status of an image without data."""
        asked = ImportRequest.from_json(request)
        db.images.begin_import(run_id, image_id, list(asked.stores), importing=asked.first_data)
        return True

    def revert(self, db: Any, run_id: str, image_id: str, request: dict[str, Any], before: dict[str, Any]) -> None:
        """Restore status and data columns; the stores that failed stay named (C12, C20)."""
        asked = ImportRequest.from_json(request)
        columns = {name: before[name] for name in _DATA_COLUMNS} if asked.first_data else {}
        status = asked.status if asked.first_data else None
        try:
            db.images.end_import(run_id, image_id, status, columns)
        except (errors.Gone, errors.LockLost) as reason:
            LOG.info("Nothing of image %s is ours to put back: %s", image_id, reason)


class Publish(Task):
    """Make the image active with its digests, if this is its first data; undone by :class:`Begin`."""

    def execute(
        self,
        db: Any,
        stores: Any,
        run_id: str,
        image_id: str,
        request: dict[str, Any],
        staged: dict[str, Any],
        tally: dict[str, Any],
    ) -> bool:
        """Publish the image; a copy that somebody removed from its store meanwhile stays removed."""
        asked = ImportRequest.from_json(request)
        contents = Staged.from_json(staged).contents if asked.first_data else None
        recorded = tally["locations"]
        removed = {place.id for place in db.locations.lost(recorded) if _data_is_gone(stores, place)}
        db.locations.publish(run_id, image_id, [number for number in recorded if number not in removed], contents)
        return True


def _data_is_gone(stores: Any, place: Location) -> bool:
    try:
        stores.holding(place).size(place.url)
    except errors.StoreDataMissing:
        return True
    except errors.GlanceFlowsError as failure:
        LOG.warning("Location %s is taken to have its data: %s", place.id, failure)
    return False


class Unstage(Task):
    """Empty the staging area; from here on nothing fails the flow any more (law 5)."""

    irreversible = True

    def execute(self, staging: Any, image_id: str, staged: dict[str, Any], leftovers: Leftovers) -> bool:
        """Remove the staged file, if there is one."""
        if not Staged.from_json(staged).ours:
            return False
        try:
            return bool(staging.remove(image_id))
        except OSError as failure:
            leftovers.add(f"the staged file of image {image_id}", failure)
            return False


class Unlock(Task):
    """Drop the lock and finish the task row."""

    irreversible = True

    def execute(
        self, db: Any, run_id: str, request: dict[str, Any], tally: dict[str, Any], leftovers: Leftovers
    ) -> bool:
        """Finish; a database that is away leaves a lock that dies with its lease, not an import undone."""
        claim = _claim(db, run_id, request)
        try:
            result = {"image_id": claim.image_id, "stores": tally["done"]}
            held = db.claims.release(claim, states.TASK_SUCCESS, tally["message"], result)
        except errors.DatabaseError as failure:
            leftovers.add(f"the lock of image {claim.image_id}", failure)
            return False
        if not held:
            LOG.warning("Run %s had lost the lock of image %s by the time it was done", run_id, claim.image_id)
        return bool(held)


def _claim(db: Any, run_id: str, request: dict[str, Any]) -> Any:
    asked = ImportRequest.from_json(request)
    return db.claim(
        run_id=run_id,
        image_id=asked.image_id,
        statuses=(asked.status,),
        owner=asked.owner,
        request=asked.as_glance_shows_it(),
        user=asked.identity.user,
        request_id=asked.identity.request_id,
    )
