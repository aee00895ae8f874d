"""A pass of the scrubber whose pages conductors do: posted a window at a time, the reports added up (S14, F5).

Which images are due, and what is left at the end, is looked up in the database as in any other pass. Jobs, reports, the
whole board may be lost: what they spoke of is still pending then, and is posted again, or left to the next pass.
"""

import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from glance_flows import errors
from glance_flows.board import Reports
from glance_flows.db.pending import Selection
from glance_flows.flow import FlowSpec
from glance_flows.pages import Page
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.placement import unmet, waits_for
from glance_flows.runner import Runner
from glance_flows.scrubber import Report, Scrubber

T = TypeVar("T")
LOG = logging.getLogger(__name__)
#: How many images a page has at most: their ids go over the board, and several hosts are to have some.
_PAGE = 250
#: How many pages are posted at once for each job that the conductors can do at once, and how many altogether.
_AHEAD = 2
_MOST = 50
_WAIT_SECONDS = 0.5
_LOOK_SECONDS = 2.0
#: Seconds for which a pass waits at least for a board, or for conductors, that were there and are away: a restart, say.
_PATIENCE_SECONDS = 30.0
#: Seconds that conductors get to report what they have in hand when the pass is stopped.
_LAST_SECONDS = 10.0
#: Of so many reports the runs are known, so that a report that comes twice counts once.
_KNOWN = 1000


class PostedScrub(Scrubber):
    """A pass that posts its pages on the jobboard.

    Its parameters are a :class:`Scrubber`'s. This host needs no store; a location is left and reported where the
    conductor that has its page does not have its store (S10).

    :raises ConfigurationError: there is no jobboard, or it is none on Redis
    """

    def __init__(self, runner: Runner, **options: Any) -> None:
        super().__init__(runner, **{"page": _PAGE, **options})
        services = runner.services
        own = services.conf.glance_flows
        store = self._filters["store"]
        self._persistence = services.persistence
        self._board = services.board
        self._name = uuid.uuid4().hex
        self._reports = Reports(self._board, self._name)
        self._needs = Needs(stores=() if store is None else (store,))
        self._lease = timedelta(seconds=own.lease_seconds)
        self._patience = max(_PATIENCE_SECONDS, 1.5 * own.lease_seconds)
        self._limit_of_board = own.jobboard_window
        self._window = 0
        self._open: dict[str, Page] = {}
        self._again: set[str] = set()
        self._known: deque[str] = deque(maxlen=_KNOWN)
        self._next_look = self._last_report = 0.0
        self._waiting_told = False
        self._conductors_seen = self._board_seen = 0.0

    def run_pass(self) -> Report:
        """Have everything that is due removed and return the report.

        :raises DatabaseError: the database cannot be read (S11)
        :raises BoardUnavailable: the board is not there, or has been away for too long
        :raises NoConductor: likewise there is none that could do this
        """
        self._persistence.ready()
        alive = self._able()
        if not alive:
            told = waits_for(self._needs, self._persistence.conductors.alive(self._lease))
            raise errors.NoConductor(f"nothing was posted: {told}.")
        self._board.count()
        self._conductors_seen = self._board_seen = time.monotonic()
        try:
            return super().run_pass()
        finally:
            with contextlib.suppress(errors.BoardUnavailable):
                self._withdraw()

    def _scrub(self, candidates: list[str], report: Report, *, live: bool = False) -> list[str]:
        """Post a page as soon as there is room for it; which of its images others have, its report will tell."""
        page = Page(self._name, self._spec(candidates, report, live), self._needs)
        while not self._stop.is_set():
            if self._has_room() and self._posted(page):
                if not self._open:
                    self._last_report = time.monotonic()
                self._open[page.name] = page
                break
            self._take(report, _WAIT_SECONDS)
        self._take(report, 0)
        return candidates

    def _spec(self, candidates: list[str], report: Report, live: bool) -> FlowSpec:
        """Stores that do not answer one host are no reason for others not to ask them; each notes its own."""
        return super()._spec(candidates, report, live).replace(without=[])

    def _has_room(self) -> bool:
        limit = self._limit_of_board
        return len(self._open) < self._window and self._asked(self._board.count, limit) < limit

    def _posted(self, page: Page) -> bool:
        def post() -> bool:
            self._board.post(page.name, page.details, "low")
            return True

        return self._asked(post, False)

    def _wait_for_others(self, wanted: Selection, report: Report) -> None:
        """Wait for the pages, take over what killed ones held, and wait for that."""
        self._settle(report)
        super()._wait_for_others(wanted, report)
        self._settle(report)
        while self._again and not self._stop.is_set() and self._take(report, _WAIT_SECONDS):
            pass
        own = {item["image"] for item in report.failures}
        in_hand = sum(len(page.images) for page in self._open.values())
        left = self._db.pending.left(self._passed - own, wanted.before)
        report.held = in_hand if self._stop.is_set() else len(left)

    def _settle(self, report: Report) -> None:
        """Wait until all the pages that are posted are done; when the pass is stopped, for those in hand."""
        while self._open and not self._stop.is_set():
            self._take(report, _WAIT_SECONDS)
        self._asked(self._withdraw, None)
        end = time.monotonic() + _LAST_SECONDS
        while self._open and time.monotonic() < end:
            self._take(report, _WAIT_SECONDS)

    def _withdraw(self) -> None:
        """Take the pages that nobody has begun off the board."""
        if self._open:
            for job in self._board.waiting():
                if job.name in self._open and self._board.remove(job, self._name):
                    del self._open[job.name]

    def _take(self, report: Report, seconds: float) -> bool:
        """Add a report that has come, or comes within so many seconds, and tell whether there was one."""
        told = self._asked(lambda: self._reports.next(seconds), None)
        if told is not None:
            self._add(told, report)
        if time.monotonic() >= self._next_look:
            self._look(report)
        return told is not None

    def _add(self, told: dict[str, Any], report: Report) -> None:
        if told["run"] in self._known:
            return
        self._known.append(told["run"])
        self._last_report, self._waiting_told = time.monotonic(), False
        self._pass_over(told["held"])
        if told["done"]:
            page = self._open.pop(told["page"], None)
            if page is not None:
                self._pace(told["seconds"], len(page.images) - len(told["held"]), len(page.images))
        report.add(told["removed"])
        self._told(report)

    def _look(self, report: Report) -> None:
        """Look after the window, and post again what was lost with the board."""
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._able():
            self._conductors_seen = time.monotonic()
        elif time.monotonic() > self._conductors_seen + self._patience:
            raise errors.NoConductor(
                f"no conductor is alive any more; {report.images} images were scrubbed until then."
            )
        silent = time.monotonic() - self._last_report
        if self._open and silent > self._patience and not self._waiting_told:
            LOG.warning(
                "No conductor has reported for %d seconds, and %d pages are posted; their logs may tell why",
                silent,
                len(self._open),
            )
            self._waiting_told = True
        names = self._asked(self._board.names, None)
        if names is None or self._stop.is_set():
            return
        # A report is there before its job is gone: what has neither is lost.
        while told := self._asked(lambda: self._reports.next(0), None):
            self._add(told, report)
        for page in [page for name, page in self._open.items() if name not in names]:
            LOG.warning("%s was lost with the jobboard, and is posted again", page.name)
            self._again.add(page.name)
            self._posted(page)

    def _able(self) -> list[ConductorRecord]:
        """Return the conductors that can do the pages, and have the window fit them."""
        alive = self._persistence.conductors.alive(self._lease)
        able = [each for each in alive if unmet(self._needs, each.host, each.stores, each.methods) is None]
        if able:
            self._window = min(_MOST, _AHEAD * sum(each.jobs for each in able))
        return able

    def _asked(self, ask: Callable[[], T], otherwise: T) -> T:
        """Ask the board for something; while it is away, for a while, wait a moment and return ``otherwise``."""
        try:
            answer = ask()
        except errors.BoardUnavailable as failure:
            if time.monotonic() > self._board_seen + self._patience:
                raise
            LOG.warning("The pass waits for the jobboard: %s", failure)
            time.sleep(_WAIT_SECONDS)
            return otherwise
        self._board_seen = time.monotonic()
        return answer
