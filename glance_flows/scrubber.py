"""A pass of the scrubber: page after page of pending images, then what other scrubbers leave (S4 to S16)."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from glance_flows import errors
from glance_flows.db.pending import PendingImage, Selection
from glance_flows.flow import FlowSpec
from glance_flows.flows.scrub import due, scrub
from glance_flows.run import Run
from glance_flows.runner import Runner

LOG = logging.getLogger(__name__)
PAGE = 1000
_FIRST_PAGE = 20
_KEPT_FAILURES = 1000
_WATCHED = 5000
#: Seconds that a page is to take at most: what somebody else could do meanwhile should not be kept from him (S14).
_PAGE_SECONDS = 5.0
#: Seconds that a daemon waits at most for what it cannot work without, where wakeup_time is shorter than that.
_LONGEST_PAUSE = 8.0


@dataclass
class Report:
    """What a pass did.

    :param images: how many became ``deleted``
    :param locations: how many were emptied
    :param freed: bytes
    :param missing: data that was gone already
    :param failed: how many locations failed; ``failures`` says which, the first thousand of them
    :param held: images left to others
    :param silent: stores that did not answer in time
    """

    images: int = 0
    locations: int = 0
    freed: int = 0
    missing: int = 0
    failed: int = 0
    held: int = 0
    seconds: float = 0.0
    stopped: bool = False
    silent: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0

    def add(self, page: dict[str, Any]) -> None:
        """Add the report of one page."""
        for name in ("images", "locations", "freed", "missing"):
            setattr(self, name, getattr(self, name) + page[name])
        self.failed += len(page["failures"])
        self.failures += page["failures"][: _KEPT_FAILURES - len(self.failures)]
        self.silent += [name for name in page["silent"] if name not in self.silent]

    def __str__(self) -> str:
        gone = f" ({self.missing} objects were gone already)" if self.missing else ""
        what = f"{self.images} images, {self.freed} bytes freed{gone}, {self.failed} failures"
        return f"{what}, {self.rate:.1f} images a second"

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        fields = asdict(self)
        freed, seconds = fields.pop("freed"), round(fields.pop("seconds"), 3)
        return {**fields, "bytes_freed": freed, "seconds": seconds, "rate": round(self.rate, 1)}


class Scrubber:
    """Removes the data of pending images, side by side with any number of others.

    :param runner: runs the flows
    :param image_id, owner, store: only these; None for all
    :param page: how many images a flow takes at most; pages are smaller where stores are slow
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
        self._limit = page
        self._page = min(page, _FIRST_PAGE)
        self._until: str | None = None
        self._told = told
        self._passed: set[str] = set()
        self._stop = threading.Event()
        self._run: Run | None = None

    def stop(self) -> None:
        """End the pass: the location in hand is finished, no new one begun (S6)."""
        self._stop.set()
        if self._run is not None:
            self._run.cancel("the scrubber is to stop.")

    def selection(self) -> Selection:
        """Return what is due now."""
        return Selection(before=due(self._conf.scrub_time), **self._filters)

    def due(self) -> Iterator[PendingImage]:
        """Yield what a pass would remove, touching nothing (S16)."""
        wanted, after = self.selection(), ""
        while page := self._db.pending.page(wanted, self._limit, after):
            for image in page:
                stores = image.stores if wanted.store is None else (wanted.store,) * image.stores.count(wanted.store)
                if stores or wanted.store is None:
                    yield replace(image, stores=stores)
            after = page[-1].id
        last = 0
        while places := self._db.pending.live_images(wanted, self._limit, last):
            for place in places:
                if wanted.store in (None, place.store):
                    stores = (place.store or "?",)
                    yield PendingImage(place.image_id, None, None, place.size, place.deleted_at, stores)
            last = places[-1].location_id

    def run_pass(self) -> Report:
        """Remove everything that is due and return the report.

        :raises DatabaseError: the database cannot be read (S11)
        """
        report, started = Report(), time.monotonic()
        wanted = self.selection()
        self._until = None if wanted.before is None else wanted.before.isoformat()
        self._sweep(wanted, report)
        self._live_images(wanted, report)
        self._wait_for_others(wanted, report)
        report.seconds = time.monotonic() - started
        report.stopped = self._stop.is_set()
        return report

    def _sweep(self, wanted: Selection, report: Report) -> None:
        after: str | None = ""
        while after is not None and not self._stop.is_set():
            candidates = self._db.pending.candidates(wanted, self._page, after)
            last = candidates[-1] if candidates else None
            # Not those that are held now: a claim may have ended since.
            there = self._db.pending.between(wanted, _WATCHED, after, last)
            self._pass_over(set(there).difference(candidates))
            if candidates:
                self._pass_over(set(candidates).difference(self._scrub(candidates, report)))
            after = last

    def _pass_over(self, image_ids: Iterable[str]) -> None:
        """Note images that others have, to look at them again when the rest is done; most are gone by then."""
        self._passed.update(image_ids)
        if len(self._passed) > _WATCHED:
            self._passed = set(self._db.pending.left(sorted(self._passed)[:_WATCHED]))

    def _scrub(self, candidates: list[str], report: Report, *, live: bool = False) -> list[str]:
        """Scrub those of the candidates that nobody else has, and return them."""
        started = time.monotonic()
        self._run = self._runner.submit(self._spec(candidates, report, live))
        if self._stop.is_set():
            self._run.cancel("the scrubber is to stop.")
        try:
            facts = self._run.result()
        except errors.Cancelled:  # before anything was claimed: nobody else has them
            return candidates
        page: list[str] = facts["page"]
        self._pace(time.monotonic() - started, len(page), len(candidates))
        report.add(facts["removed"])
        self._told(report)
        return page

    def _spec(self, candidates: list[str], report: Report, live: bool) -> FlowSpec:
        return scrub(
            candidates,
            pool_size=self._conf.scrub_pool_size,
            store=self._filters["store"],
            lease=float(self._conf.glance_flows.lease_seconds),
            live=live,
            without=report.silent,
            until=self._until,
        )

    def _pace(self, seconds: float, done: int, asked: int) -> None:
        """Have the next page take half of the longest time, going by one that is done.

        It is at most eight times as large as that one, or as pages are now. One of which others had a part does not
        make pages larger, and one of which they had everything tells nothing.

        :param done: how many images the page had
        :param asked: how many it was to have
        """
        if not done:
            return
        fitting = _PAGE_SECONDS / 2 / max(seconds, 0.001)
        size = done * min(8.0, max(0.5, fitting))
        # Being small is no reason for the next one to be small.
        size = max(size, min(self._page, done * fitting))
        if done < asked:
            size = min(size, self._page)
        self._page = min(self._limit, max(1, int(size)))

    def _live_images(self, wanted: Selection, report: Report) -> None:
        """Remove pending data of images that live on (S12); an image that somebody works on waits for the next pass."""
        after = 0
        while not self._stop.is_set():
            found = self._db.pending.live_images(wanted, self._page, after)
            if not found:
                return
            self._scrub(sorted({place.image_id for place in found}), report, live=True)
            after = found[-1].location_id

    def _wait_for_others(self, wanted: Selection, report: Report) -> None:
        """Take over what a killed scrubber held: its claims are void after the lease (S14).

        Each image is tried once. What others keep longer than that is in good hands, and left to them.
        """
        lease = self._conf.glance_flows.lease_seconds
        patience = time.monotonic() + 1.5 * lease
        self._pass_over(self._db.pending.held(wanted, _WATCHED))
        # What a store that hangs may still be deleting is held by this pass itself.
        own = {item["image"] for item in report.failures}
        held = set(self._db.pending.left(self._passed - own))
        while held and not self._stop.is_set():
            free = self._db.pending.free(held)
            for start in range(0, len(free), self._page):
                self._scrub(free[start : start + self._page], report)
            held = set(self._db.pending.left(held.difference(free)))
            if not held or time.monotonic() > patience or self._stop.wait(min(1.0, lease / 10)):
                break
        report.held = len(held)


class Daemon:
    """Repeats passes for ever, never two at once, surviving a lost database or store (S6, S11).

    A loop of its own rather than futurist's PeriodicWorker: that one counts the spacing from the start of a pass, keeps
    it for ever, and has no way to end a wait early; a daemon that reads its configuration anew needs both.

    :param make: makes the scrubber of a pass, right before it
    :param wakeup: tells how many seconds to wait after it
    """

    def __init__(self, make: Callable[[], Scrubber], wakeup: Callable[[], float]) -> None:
        self._make = make
        self._wakeup = wakeup
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._scrubber: Scrubber | None = None
        self._pause = 0.0
        self.passes = 0

    def wake(self) -> None:
        """End the wait, if there is one: the next pass begins."""
        self._wake.set()

    def stop(self) -> None:
        """End the pass at hand and begin no other."""
        self._stop.set()
        self._wake.set()
        if self._scrubber is not None:
            self._scrubber.stop()

    def run(self) -> None:
        """Work until :meth:`stop` is called."""
        while not self._stop.is_set():
            self._wake.clear()
            self._scrubber = self._make()
            if self._stop.is_set():
                return
            done = self._pass(self._scrubber)
            self.passes += 1
            self._pause = 0.0 if done else min(_LONGEST_PAUSE, max(1.0, 2 * self._pause))
            if not self._stop.is_set():
                self._wake.wait(max(self._wakeup(), self._pause))

    @staticmethod
    def _pass(scrubber: Scrubber) -> bool:
        """Run a pass and tell whether it came to its end."""
        try:
            report = scrubber.run_pass()
        except errors.DatabaseError as failure:
            LOG.critical("The database cannot be used; the next pass tries again: %s", failure)
        except Exception:
            LOG.exception("The pass failed; the next one tries again")
        else:
            level = logging.INFO if report.locations or report.images or report.failed else logging.DEBUG
            LOG.log(level, "Scrubbed %s", report)
            return True
        return False
