"""A pass of the scrubber: page after page of pending images, then what other scrubbers leave (S4 to S16)."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.db.pending import PendingImage, Selection
from glance_flows.flows.scrub import scrub
from glance_flows.run import Run
from glance_flows.runner import Runner

LOG = logging.getLogger(__name__)
PAGE = 500
_KEPT_FAILURES = 1000


@dataclass
class Report:
    """What a pass did.

    :param images: how many became ``deleted``
    :param locations: how many were emptied
    :param freed: bytes
    :param missing: data that was gone already
    :param failed: how many locations failed; ``failures`` says which, the first thousand of them
    :param held: images left to others
    """

    images: int = 0
    locations: int = 0
    freed: int = 0
    missing: int = 0
    failed: int = 0
    held: int = 0
    seconds: float = 0.0
    stopped: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0

    def add(self, share: dict[str, Any]) -> None:
        """Add the report of one share."""
        for name in ("images", "locations", "freed", "missing"):
            setattr(self, name, getattr(self, name) + share[name])
        self.failed += len(share["failures"])
        self.failures += share["failures"][: _KEPT_FAILURES - len(self.failures)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "rate": round(self.rate, 1)}


class Scrubber:
    """Removes the data of pending images, side by side with any number of others.

    :param runner: runs the flows
    :param image_id, owner, store: only these; None for all
    :param page: how many images a flow takes
    :param told: called with the report so far, after every page
    """

    def __init__(
        self,
        runner: Runner,
        *,
        image_id: str | None = None,
        owner: str | None = None,
        store: str | None = None,
        page: int = PAGE,
        told: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._runner = runner
        self._db = runner.services.db
        self._conf = runner.services.conf
        self._filters = {"image_id": image_id, "owner": owner, "store": store}
        self._page = page
        self._told = told
        self._stop = threading.Event()
        self._run: Run | None = None

    def stop(self) -> None:
        """End the pass: the location in hand is finished, no new one begun (S6)."""
        self._stop.set()
        if self._run is not None:
            self._run.cancel("the scrubber is to stop.")

    def selection(self) -> Selection:
        """Return what is due now."""
        before = timeutils.utcnow() - timedelta(seconds=self._conf.scrub_time)
        return Selection(before=before, **self._filters)

    def due(self) -> Iterator[PendingImage]:
        """Yield what a pass would remove, touching nothing (S16)."""
        wanted, after = self.selection(), ""
        while page := self._db.pending.page(wanted, self._page, after):
            yield from page
            after = page[-1].id

    def run_pass(self) -> Report:
        """Remove everything that is due and return the report.

        :raises DatabaseError: the database cannot be read (S11)
        """
        report, started = Report(), time.monotonic()
        wanted = self.selection()
        self._sweep(wanted, report)
        if self._filters["image_id"] is None and self._filters["owner"] is None:
            self._live_images(wanted, report)
        self._wait_for_others(wanted, report)
        report.seconds = time.monotonic() - started
        report.stopped = self._stop.is_set()
        return report

    def _sweep(self, wanted: Selection, report: Report) -> None:
        after = ""
        while not self._stop.is_set():
            candidates = self._db.pending.candidates(wanted, self._page, after)
            if not candidates:
                return
            self._scrub(candidates, report)
            after = candidates[-1]

    def _scrub(self, candidates: list[str], report: Report, *, live: bool = False) -> None:
        spec = scrub(
            candidates,
            pool_size=self._conf.scrub_pool_size,
            store=self._filters["store"],
            lease=float(self._conf.glance_flows.lease_seconds),
            live=live,
        )
        self._run = self._runner.submit(spec)
        if self._stop.is_set():
            self._run.cancel("the scrubber is to stop.")
        facts = self._run.result()
        for name, share in facts.items():
            if name.startswith("share_"):
                report.add(share)
        self._told(report)

    def _live_images(self, wanted: Selection, report: Report) -> None:
        """Remove pending data of images that live on (S12); an image that somebody works on waits for the next pass."""
        after = 0
        while not self._stop.is_set():
            found = self._db.pending.live_images_with_pending_data(wanted.before, self._page, after)
            if not found:
                return
            self._scrub(sorted({image_id for _, image_id in found}), report, live=True)
            after = found[-1][0]

    def _wait_for_others(self, wanted: Selection, report: Report) -> None:
        """Take over what a killed scrubber held: its claims are void after the lease (S14)."""
        patience = time.monotonic() + 1.5 * self._conf.glance_flows.lease_seconds
        failed = {item["image"] for item in report.failures}
        while (held := self._db.pending.count_held(wanted)) and time.monotonic() < patience:
            if self._stop.wait(min(1.0, self._conf.glance_flows.lease_seconds / 10)):
                break
            free = [each for each in self._db.pending.candidates(wanted, self._page) if each not in failed]
            if free:
                self._scrub(free, report)
                failed |= {item["image"] for item in report.failures}
        report.held = held


class Daemon:
    """Repeats passes for ever, never two at once, surviving a lost database or store (S6, S11).

    :param make: makes the scrubber of a pass
    :param wakeup: seconds from the end of one pass to the start of the next
    """

    def __init__(self, make: Callable[[], Scrubber], wakeup: float) -> None:
        self._make = make
        self.wakeup = wakeup
        self._stop = threading.Event()
        self._scrubber: Scrubber | None = None
        self.passes = 0

    def stop(self) -> None:
        """End the pass at hand and begin no other."""
        self._stop.set()
        if self._scrubber is not None:
            self._scrubber.stop()

    def run(self) -> None:
        """Work until :meth:`stop` is called."""
        while not self._stop.is_set():
            self._scrubber = self._make()
            if self._stop.is_set():
                return
            try:
                report = self._scrubber.run_pass()
                LOG.info("Scrubbed %d images, %d bytes; %d failures", report.images, report.freed, report.failed)
            except errors.DatabaseError as failure:
                LOG.critical("The database cannot be used; the next pass tries again: %s", failure)
            except errors.GlanceFlowsError:
                LOG.exception("The pass failed; the next one tries again")
            self.passes += 1
            self._stop.wait(self.wakeup)
