"""Tasks that delete an image: its rows first, so that nobody uses it, then its data, then the last word."""

import logging
from datetime import datetime
from typing import Any

from glance_flows import errors, states
from glance_flows.images import Location
from glance_flows.ports import Cancel, Store
from glance_flows.task import Leftovers, Task, succeeded
from glance_flows.tasks.hold import Hold

LOG = logging.getLogger(__name__)


class Condemn(Task):
    """Make the image answer as deleted, its data still there (S1); provides ``deletion``."""

    default_provides = "deletion"

    def execute(self, db: Any, image_id: str) -> dict[str, Any]:
        """Mark the image and everything attached to it.

        An image that is pending already was marked by this very task before it was killed, or by somebody who wanted
        the same; either way the flow goes on, and only its own marks are ever taken back.

        :raises Gone, Forbidden: it is deleted already, or protected (S3)
        """
        try:
            found = db.deletions.begin(image_id)
        except errors.Gone:
            if db.images.get(image_id).status != states.PENDING_DELETE:
                raise
            return {"status": None, "at": None, "locations": []}
        return {"status": found.status, "at": found.at.isoformat(), "locations": list(found.locations)}

    def revert(self, db: Any, run_id: str, image_id: str, result: Any, leftovers: Leftovers) -> None:
        """Bring the image back with the locations whose data is still there (S2), unless somebody else has it now."""
        db.pending.release(run_id, [image_id])
        if not succeeded(result) or result["status"] is None:
            return
        at = datetime.fromisoformat(result["at"])
        if not db.deletions.take_back(image_id, result["status"], at, tuple(result["locations"])):
            leftovers.add(f"image {image_id} has no data any more and stays pending_delete until the next scrub")


class RemoveStaged(Task):
    """Remove what is staged for a deleted image: no scrubber looks there."""

    irreversible = True

    def execute(self, staging: Any, image_id: str, leftovers: Leftovers) -> bool:
        """Tell whether there was something."""
        try:
            return bool(staging.remove(image_id))
        except OSError as failure:
            leftovers.add(f"the staged file of image {image_id}", failure)
            return False


class RemoveData(Task):
    """Remove the data of every location, and what is staged; stops at a store that refuses (S2)."""

    irreversible = True

    def execute(self, db: Any, stores: Any, staging: Any, conf: Any, cancel: Cancel, run_id: str, image_id: str) -> int:
        """Return how many locations were emptied; a cancelled deletion keeps the rest.

        :raises ImageBusy: a scrubber or a restore has the image, and what becomes of it (R8)
        :raises StoreInUse, StoreError, StoreUnavailable: the store that refused; it and those after it are untouched
        """
        staging.remove(image_id)
        places = [place for place in db.locations.of(image_id) if place.status == states.PENDING_DELETE]
        if not places:
            return 0
        if not db.pending.claim(run_id, [image_id]):
            raise errors.ImageBusy(f"image {image_id} is being scrubbed or restored by somebody else.")
        with Hold(lambda: db.pending.renew(run_id, [image_id]), conf.glance_flows.lease_seconds) as hold:
            for place in places:
                cancel.check()
                if not hold.sure(image_id):
                    raise errors.LockLost(f"image {image_id} was taken over by somebody else while it was deleted.")
                _remove(stores.holding(place), place, image_id)
                db.locations.mark_deleted(place.id)
        return len(places)


def _remove(store: Store, place: Location, image_id: str) -> None:
    try:
        store.delete(place.url)
    except errors.StoreDataMissing:
        LOG.warning("The data of image %s in the store %s was gone already", image_id, store.name)


class Bury(Task):
    """Give an image whose data is gone the status ``deleted``."""

    irreversible = True

    def execute(self, db: Any, run_id: str, image_id: str) -> bool:
        """Tell whether it was waiting for this; nobody holds it any more."""
        buried = bool(db.deletions.finish(image_id))
        db.pending.release(run_id, [image_id])
        return buried
