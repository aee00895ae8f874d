"""Tasks that bring a deleted image back."""

import logging
from typing import Any

from glance_flows import errors
from glance_flows.task import Task
from glance_flows.tasks.hold import Hold

LOG = logging.getLogger(__name__)


class TakePending(Task):
    """Take the image, so that neither a scrubber nor another restore touches it (R8)."""

    def execute(self, db: Any, run_id: str, image_id: str) -> bool:
        """Take it.

        :raises NotFound, Conflict, ImageBusy: see :class:`glance_flows.db.restoration.Restorations` (R4, R8)
        """
        db.restorations.take(run_id, image_id)
        return True

    def revert(self, db: Any, run_id: str, image_id: str) -> None:
        """Leave the image as pending as it was."""
        db.restorations.drop(run_id, image_id)


class LookIntoStores(Task):
    """Look for the data of every pending location in its store (R6); provides ``found``."""

    default_provides = "found"

    def execute(self, db: Any, stores: Any, conf: Any, run_id: str, image_id: str) -> dict[str, Any]:
        """Return the ids of the locations whose data is there, of those whose data is gone, and what to tell.

        :raises Conflict: no data could be found; the image stays pending
        """
        present, missing, told = [], [], []
        with Hold(lambda: db.pending.renew(run_id, [image_id]), conf.glance_flows.lease_seconds):
            for item in db.pending.doomed(run_id, [image_id]):
                try:
                    _look(stores, item)
                    present.append(item.location_id)
                except errors.StoreDataMissing as failure:
                    missing.append(item.location_id)
                    told.append(str(failure))
                except errors.GlanceFlowsError as failure:
                    told.append(str(failure))
        for line in told:
            LOG.warning("Image %s: %s", image_id, line)
        if not present:
            why = " ".join(told) or "it has no location left."
            raise errors.Conflict(f"image {image_id} cannot be restored, its data was not found: {why}")
        return {"present": present, "missing": missing, "told": told}


def _look(stores: Any, item: Any) -> None:
    if item.location is None:
        where = f" in the store {item.store}" if item.store else ""
        raise errors.StoreError(f"a location{where} does not decrypt with metadata_encryption_key.")
    stores.holding(item.location).size(item.location.url)


class Revive(Task):
    """Bring the rows back and drop the lock, in one transaction (R1, R5, R8); provides ``restored``."""

    default_provides = "restored"
    irreversible = True

    def execute(
        self, db: Any, notifier: Any, run_id: str, image_id: str, found: dict[str, Any], data_only: bool
    ) -> dict[str, Any]:
        """Return how many properties, tags and members came back, and which locations were left out."""
        back = db.restorations.revive(run_id, image_id, found["present"], found["missing"], data_only=data_only)
        report = {"properties": back.properties, "tags": back.tags, "members": back.members}
        notifier.emit("image.restore", {"id": image_id, "run": run_id, **report})
        return {**report, "locations": len(found["present"]), "told": found["told"]}
