"""Tasks that delete an image: its rows first, so that nobody uses it, then its data, then the last word."""

import logging
from datetime import datetime
from typing import Any

from glance_flows import errors, states
from glance_flows.ports import Cancel
from glance_flows.task import Leftovers, Task, succeeded

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

    def revert(self, db: Any, image_id: str, result: Any, leftovers: Leftovers) -> None:
        """Bring the image back with the locations whose data is still there (S2)."""
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

    def execute(self, db: Any, stores: Any, staging: Any, cancel: Cancel, image_id: str) -> int:
        """Return how many locations were emptied; a cancelled deletion keeps the rest.

        :raises StoreInUse, StoreError, StoreUnavailable: the store that refused; it and those after it are untouched
        """
        staging.remove(image_id)
        places = [place for place in db.locations.of(image_id) if place.status == states.PENDING_DELETE]
        for place in places:
            cancel.check()
            store = stores.holding(place)
            try:
                store.delete(place.url)
            except errors.StoreDataMissing:
                LOG.warning("The data of image %s in the store %s was gone already", image_id, store.name)
            db.locations.mark_deleted(place.id)
        return len(places)


class Bury(Task):
    """Give an image whose data is gone the status ``deleted``."""

    irreversible = True

    def execute(self, db: Any, image_id: str) -> bool:
        """Tell whether it was waiting for this."""
        return bool(db.deletions.finish(image_id))
