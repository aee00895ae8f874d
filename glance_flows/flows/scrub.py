"""Scrubbing: one flow for a page of pending images, several of them at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from oslo_utils import timeutils

from glance_flows.flow import Flow, flow, series
from glance_flows.tasks.scrub import ClaimPage, CloseTask, RemovePage

#: Longer than there have been images is for ever, however long it is.
_FOR_EVER = 50 * 366 * 24 * 3600


def due(scrub_time: float) -> datetime:
    """Return the moment at which, or before, an image must have been deleted for its data to go now (S4)."""
    return timeutils.utcnow() - timedelta(seconds=min(scrub_time, _FOR_EVER))


@flow(persisted=False)
def scrub(
    candidates: Sequence[str],
    *,
    pool_size: int = 1,
    store: str | None = None,
    lease: float = 60.0,
    live: bool = False,
    without: Sequence[str] = (),
    until: str | None = None,
) -> Flow:
    """Remove the data of a page of pending images.

    :param candidates: ids of pending images; those that somebody else holds are left to him
    :param pool_size: how many images are worked on at once (S5)
    :param store: remove only the data in this store
    :param lease: seconds that a claim lasts without being renewed
    :param live: the images live on, only some of their data is pending (S12)
    :param without: stores that did not answer a moment ago and are not asked again
    :param until: only what was deleted at this moment (ISO 8601, UTC) or earlier when it is claimed (S4)
    """
    hanging: set[str] = set()
    return series("scrub", ClaimPage(hanging), RemovePage(pool_size, hanging), CloseTask())
