"""A page of a scrub as a job of its own: how it is posted, and how a conductor does it (S14, F5).

Nothing rests on the job: what is to be removed is in the image table, and claims there keep others out. A page that is
done twice is found empty the second time; one that is lost is still pending.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from oslo_utils import timeutils
from tooz import ToozError

from glance_flows import errors
from glance_flows.board import Reports
from glance_flows.coordination import Coordinator, Place
from glance_flows.flow import FlowSpec
from glance_flows.flows.scrub import due, scrub
from glance_flows.persistence import Needs
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.tasks.scrub import PageReport

LOG = logging.getLogger(__name__)
_MARK = "scrub"
_AGAIN_SECONDS = 1.0
#: After which a page that nobody could do is of no use to anybody: what it speaks of is in the database.
_STALE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is posted.

    :param told: the name of the pass, which the report goes to
    :param spec: the flow ``scrub`` of these images
    :param needs: what a host must have; a store that it lacks is no reason to leave the page, only that data (S10)
    """

    told: str
    spec: FlowSpec
    needs: Needs
    name: str = field(default_factory=lambda: f"scrub-{uuid.uuid4()}")

    @property
    def images(self) -> list[str]:
        """The ids of the images."""
        return list(self.spec.arguments["candidates"])

    @property
    def details(self) -> dict[str, Any]:
        """What the board tells a conductor of the page."""
        posted_at = timeutils.utcnow().isoformat()
        needs = self.needs.to_json()
        return {_MARK: self.told, "spec": self.spec.to_json(), "needs": needs, "posted_at": posted_at}

    @classmethod
    def of(cls, job: Any) -> "Page":
        """Return the page that a job is.

        Whoever reaches the board can post: nothing but a scrub is made of what is there.

        :raises BadRequest: it is none
        """
        try:
            details = job.details
            spec = FlowSpec.from_json(details["spec"])
            page = cls(details[_MARK], scrub(**spec.plain()), Needs.from_json(details["needs"]), job.name)
            page._check()
        except (errors.BadRequest, AttributeError, KeyError, TypeError, ValueError) as failure:
            raise errors.BadRequest(f"{job.name} is no page of a scrub: {failure}") from failure
        if spec.flow != page.spec.flow:
            raise errors.BadRequest(f"{job.name} is no page of a scrub: its flow is {spec.flow!r}")
        return page

    @staticmethod
    def expired(job: Any) -> bool:
        """Tell whether a page was posted more than a day ago, or does not say when."""
        try:
            age = timeutils.utcnow() - datetime.fromisoformat(job.details["posted_at"])
        except (KeyError, TypeError, ValueError):
            return True
        return abs(age) > _STALE

    def within(self, scrub_time: float, **own: Any) -> FlowSpec:
        """Return the flow as a host does it.

        :param scrub_time: of that host; nothing younger goes, whatever the page says (S4)
        :param own: arguments of that host, in the place of the poster's
        """
        here, until = due(scrub_time), self.spec.arguments.get("until")
        until = here if until is None else min(here, datetime.fromisoformat(until))
        return self.spec.replace(until=until.isoformat(), **own)

    def _check(self) -> None:
        given = self.spec.plain()
        texts = [self.told, *given["candidates"], *given.get("without", [])]
        texts += [given[name] for name in ("store", "until") if given.get(name) is not None]
        if not all(isinstance(each, str) for each in texts) or not isinstance(given.get("live", False), bool):
            raise TypeError("an argument is not of its type.")
        if given.get("until") is not None and datetime.fromisoformat(given["until"]).tzinfo is not None:
            raise ValueError("its time is not UTC without saying so.")


def is_page(job: Any) -> bool:
    """Tell whether a job is a page of a scrub, and no run."""
    return _MARK in (job.details or ())


class Pages:
    """The pages that a conductor has in hand: one is worked on at a time, the others wait for it, claimed.

    So no more than scrub_pool_size images of this host are worked on at once (S5), be there never so many jobs.

    :param runner: runs them
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lease = float(runner.services.conf.glance_flows.lease_seconds)
        self._stop = threading.Event()
        self._in_hand: dict[threading.Event, str] = {}
        self._turn = threading.Lock()
        self._run: Run | None = None
        self._silent: dict[str, float] = {}
        self._shown = _Shown(Coordinator.from_conf(runner.services.conf))

    def work(self, job: Any, settled: Callable[[], Any]) -> None:
        """Do a claimed page and report what was done, which ends or gives back the job.

        What is no page of a scrub, or an old one, is not done and not reported: the job is as good as done.

        :param settled: called when nothing is left but the report: the claim is not to be renewed any more
        :raises DatabaseError: the page cannot be done now, here; the job is still claimed
        """
        try:
            page = Page.of(job)
        except errors.BadRequest as refused:
            LOG.warning("A job is taken off the board and not done: %s", refused)
            return
        if Page.expired(job):
            LOG.warning("%s was posted more than a day ago; it is taken off the board and not done", page.name)
            return
        over = threading.Event()
        self._in_hand[over] = page.name
        try:
            with self._shown:
                report = self._done(page)
            settled()
            self._tell(job, page, report)
        finally:
            over.set()
            del self._in_hand[over]

    def stop(self) -> None:
        """Have the pages end after the location in hand, and begin no other one (S6)."""
        self._stop.set()
        run = self._run
        if run is not None:
            run.cancel("the conductor is to stop.")

    def late(self, until: float) -> list[str]:
        """Wait for the pages to be over and return the names of those that are not.

        :param until: in monotonic time
        """
        in_hand = self._in_hand.copy()
        return [name for over, name in in_hand.items() if not over.wait(max(0.0, until - time.monotonic()))]

    def _done(self, page: Page) -> dict[str, Any]:
        with self._turn:
            return self._do(page)

    def _do(self, page: Page) -> dict[str, Any]:
        started = time.monotonic()
        conf = self._runner.services.conf
        without = [name for name, until in self._silent.items() if until > started]
        spec = page.within(conf.scrub_time, pool_size=conf.scrub_pool_size, lease=self._lease, without=without)
        self._run = run = self._runner.submit(spec)
        if self._stop.is_set():
            run.cancel("the conductor is to stop.")
        held: list[str] = []
        try:
            facts = run.result()
            removed = facts["removed"]
            held = sorted(set(page.images).difference(facts["page"]))
        except errors.DatabaseError:
            raise
        except errors.Cancelled:  # before anything was claimed
            removed = PageReport().to_json()
        except errors.GlanceFlowsError as failure:
            # What nobody foresaw would happen to the next conductor, too.
            failures = [{"image": each, "store": None, "error": str(failure)} for each in page.images]
            removed = PageReport(failures=failures).to_json()
        finally:
            self._run = None
        now = time.monotonic()
        seconds = now - started
        # A store that hangs here may be quick elsewhere: only this host is not to ask it again for a while.
        self._silent |= dict.fromkeys(removed["silent"], now + self._lease)
        done = run.token.reason is None
        LOG.info("%s: images gone: %d, locations failed: %d", page.name, removed["images"], len(removed["failures"]))
        return {"page": page.name, "run": run.id, "done": done, "seconds": seconds, "held": held, "removed": removed}

    def _tell(self, job: Any, page: Page, report: dict[str, Any]) -> None:
        """Report, or, where the board is away for longer than a lease, leave the job to be taken up once more."""
        reports = Reports(self._runner.services.board, page.told)
        patience = time.monotonic() + self._lease
        while True:
            try:
                return reports.add(job, self._runner.holder, report, done=report["done"])
            except errors.BoardUnavailable as failure:
                if time.monotonic() > patience:
                    LOG.warning("What was done of %s cannot be reported: %s", page.name, failure)
                    return None
            time.sleep(_AGAIN_SECONDS)


class _Shown:
    """Shows a running scrubber for as long as anything is in hand, however many pages that are (R2).

    Where that cannot be, the pages are done unseen: claims in the database keep restores off their images (R8).

    :param coordinator: shows it
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._lock = threading.Lock()
        self._count = 0
        self._place: Place | None = None
        self._shown = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1
            try:
                if self._place is None:
                    self._place = self._shown.enter_context(self._coordinator.scrubbing())
                else:
                    self._place.take()
            except (errors.GlanceFlowsError, ToozError, OSError) as failure:
                LOG.warning("--restore does not see that a scrubber is at work here: %s", failure)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._place = None
                self._shown.close()
