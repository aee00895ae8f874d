"""A conductor: takes posted runs off the jobboard and sees them through, beside any number of others (F5).

taskflow's conductor looks for jobs, claims them and runs them side by side. What a job is, which of them this host can
do, and how its end is told, is said here. Nothing rests on the board: before a conductor touches anything it takes the
run over in the list of runs, by compare-and-swap, and it writes for as long as it is sure of that.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

from oslo_utils import timeutils
from taskflow import exceptions as taskflow_exceptions
from taskflow.conductors.backends import impl_nonblocking
from taskflow.types import timing

from glance_flows import errors
from glance_flows.audit import tidy_staging
from glance_flows.pages import Page, Pages, is_page
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.persistence.postings import DRAINING, WORKING
from glance_flows.persistence.records import Record
from glance_flows.placement import unmet
from glance_flows.reconciler import Reconciler
from glance_flows.resumption import Resumption
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.version import VERSION

LOG = logging.getLogger(__name__)
_TICK_SECONDS = 2.0
_TIDY_SECONDS = 3600.0
#: After which a conductor that has fallen silent is listed no more.
_FORGOTTEN = timedelta(hours=1)
#: How many of the jobs that wait are looked at in the list of runs, for each that there is room for.
_LOOKED_AT = 4


class Pause(timing.Timeout):
    """The wait between two looks at the board; a run that ends makes room, and ends it.

    :param seconds: how long it is
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._nudged = threading.Event()

    def wait(self) -> None:
        """Wait for a nudge, at most so long."""
        self._nudged.wait(self.value)
        self._nudged.clear()

    def nudge(self) -> None:
        """End the wait."""
        self._nudged.set()

    def interrupt(self) -> None:
        """End the wait, and the conductor."""
        super().interrupt()
        self._nudged.set()


class Ticker:
    """Does something now and then on a thread of its own; what fails is told once, until it works again.

    :param name: what it is, for the log
    :param seconds: between two times
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        self._name, self._seconds, self._work = name, seconds, work
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._tick, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for what is under way."""
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        while True:
            try:
                self._work()
            except errors.GlanceFlowsError as failure:
                LOG.log(logging.DEBUG if self._failing else logging.WARNING, "The %s: %s", self._name, failure)
                self._failing = True
            except Exception:
                LOG.exception("The %s failed in a way nobody foresaw; it goes on", self._name)
                self._failing = True
            else:
                if self._failing:
                    LOG.info("The %s works again", self._name)
                self._failing = False
            if self._stop.wait(self._seconds):
                return


class Conductor(impl_nonblocking.NonBlockingConductor):
    """Works on posted runs until it is told to stop; :meth:`run` blocks.

    :param runner: runs them; how many at once says ``[taskflow_executor] max_workers``
    """

    def __init__(self, runner: Runner) -> None:
        services = runner.services
        own = services.conf.glance_flows
        limit = services.conf.taskflow_executor.max_workers
        self.runner = runner
        self._board = services.board
        self._pause = Pause(own.jobboard_interval)
        self._refused: dict[str, float] = {}
        self._refusing = threading.Lock()
        self._held: dict[str, Any] = {}
        # A job that is let go while the claims are renewed would be claimed again, by one that may be leaving.
        self._holding = threading.Lock()
        self._lease = float(own.lease_seconds)
        self._retention = timedelta(days=own.run_retention)
        self._record = ConductorRecord(
            runner.holder, services.host, VERSION, WORKING, limit, tuple(services.stores.names), tuple(services.methods)
        )
        self._reconciler = Reconciler(services, runner.holder)
        self._pages = Pages(runner)
        self._failing = False
        super().__init__(
            runner.holder,
            _View(self),
            wait_timeout=self._pause,
            max_simultaneous_jobs=limit,
            executor_factory=lambda: ThreadPoolExecutor(limit, thread_name_prefix="job"),
        )

    def run(self, max_dispatches: int | None = None) -> None:
        """Take up runs and see them through, until :meth:`stop` or :meth:`drain` is called."""
        tickers = [
            Ticker("list of conductors", min(self._lease / 3, 10 * _TICK_SECONDS), self._show),
            Ticker("renewal of claims", self._lease / 3, self._renew),
            Ticker("tidying of the staging area and of the list of runs", _TIDY_SECONDS, self._tidy),
            Ticker("comparison of the jobboard with the list of runs", _TICK_SECONDS, self._reconciler.turn),
        ]
        LOG.info("Conductor %s works on up to %d runs at once", self._name, self._max_simultaneous_jobs)
        try:
            super().run(max_dispatches)
        finally:
            for ticker in tickers:
                ticker.stop()
            self._sign_off()

    def drain(self, grace: float | None = None) -> list[str]:
        """Take up nothing more, suspend the runs in hand, and give them back for other conductors to go on with.

        :param grace: seconds that the tasks in hand get to end, by default ``stop_grace``
        :return: ids of the runs whose tasks did not end in time: given back like the others, but the process must end
        """
        self._record = ConductorRecord(**{**_fields(self._record), "state": DRAINING})
        self.stop()
        self._pages.stop()
        waited = self.runner.services.conf.glance_flows.stop_grace if grace is None else grace
        end = time.monotonic() + waited
        late = [*self.runner.stop(waited), *self._pages.late(end)]
        if not late and not self.wait(_TICK_SECONDS):
            late = self.runner.stop(waited)  # a run that was about to begin
        for run_id in late:
            self._give_back(run_id)
            self._off_hand(run_id, consume=False)
        if late:
            self._sign_off()
        return late

    def candidates(self) -> Iterator[Any]:
        """Yield the jobs that this conductor could do now, in the order in which they are to be done."""
        if not self._can_claim_more_jobs(None):
            return
        try:
            jobs = [job for job in self._board.waiting() if self._fits(job)]
            runs = [job.name for job in jobs if not is_page(job)][: _LOOKED_AT * self._max_simultaneous_jobs]
            records = self.runner.services.persistence.postings.records(runs) if runs else {}
            resumption = Resumption(self.runner.services, self.runner.holder, self.runner.build)
        except (errors.BoardUnavailable, errors.DatabaseError) as failure:
            LOG.log(logging.DEBUG if self._failing else logging.WARNING, "No runs are taken up for now: %s", failure)
            self._failing = True
            return
        self._failing = False
        for job in jobs:
            if is_page(job):
                free = job.name not in self._held
            else:
                free = job.name in runs and self._is_free(job, records.get(job.name), resumption)
            if free:
                yield job

    def _is_free(self, job: Any, record: Record | None, resumption: Resumption) -> bool:
        if record is None:
            LOG.info("Job %s is left alone: there is no such run on the list", job.name)
            self._refuse(job)
        return record is not None and not resumption.alive(record)

    def claim(self, job: Any) -> None:
        """Claim a job; from here on the claim is renewed.

        :raises taskflow.exceptions.UnclaimableJob: somebody was faster, or the board cannot be used
        """
        try:
            self._board.claim(job, self._name)
        except errors.BoardUnavailable as failure:
            raise taskflow_exceptions.UnclaimableJob(str(failure)) from failure
        self._held[job.name] = job

    def _fits(self, job: Any) -> bool:
        """Tell whether this host has what a job needs, and has not just refused it; whatever is over it can end."""
        if self._refused.get(job.name, 0.0) > time.monotonic():
            return False
        if is_page(job) and Page.expired(job):
            return True
        services = self.runner.services
        try:
            needs = Needs.from_json(job.details["needs"])
        except (KeyError, TypeError):
            return False
        staged = services.staging.path(job.details.get("image", "")).is_file
        return unmet(needs, self._record.host, self._record.stores, self._record.methods, staged=staged) is None

    def _dispatch_job(self, job: Any) -> bool:
        """Do a claimed job and tell whether it is done; never raises, or taskflow would throw the job away."""
        try:
            if is_page(job):
                self._pages.work(job, settled=lambda: self._keep_no_more(job))
                return True
            return self._worked(job)
        except errors.GlanceFlowsError as why:
            LOG.info("Job %s is left to others for now: %s", job.name, why)
        except Exception:
            LOG.exception("Job %s could not be taken up", job.name)
        self._refuse(job)
        return False

    def _refuse(self, job: Any) -> None:
        """Leave a job alone for a while."""
        now = time.monotonic()
        with self._refusing:
            self._refused = {name: until for name, until in self._refused.items() if until > now}
            self._refused[job.name] = now + self._lease / 2

    def _worked(self, job: Any) -> bool:
        record = self.runner.services.persistence.records.get(job.name)
        if record.finished:
            return True
        if self._pause.is_stopped():
            return False
        LOG.info("Run %s (%s of image %s) is taken up here", record.id, record.spec.flow, record.image_id)
        run = self.runner.work(record)
        if isinstance(run.error, errors.Suspended):
            LOG.info("Run %s is given back", run.id)
        else:
            LOG.info("Run %s is over here: %s", run.id, run.error or run.state)
        return self._settled(run)

    def _settled(self, run: Run) -> bool:
        if isinstance(run.error, errors.Suspended):
            self._give_back(run.id)
            return False
        lease = run.token.lease
        return not isinstance(run.error, errors.StateLost) and (lease is None or lease.lost is None)

    def _give_back(self, run_id: str) -> None:
        try:
            self.runner.services.persistence.postings.give_back(run_id, self._name)
        except errors.DatabaseError as failure:
            LOG.warning("Job %s is suspended but could not be given back yet: %s", run_id, failure)

    def _try_finish_job(self, job: Any, consume: bool, trash: bool = False) -> None:
        self._off_hand(job.name, consume)

    def _on_job_done(self, job: Any, future: Any) -> None:
        super()._on_job_done(job, future)
        self._pause.nudge()

    def _off_hand(self, name: str, consume: bool) -> None:
        """Take a job in hand off the board, or put it back; where the board has forgotten it, that is as well."""
        with self._holding:
            job = self._held.pop(name, None)
            if job is None:
                return
            try:
                self._board.let_go(job, self._name, done=consume)
            except errors.BoardUnavailable as failure:
                LOG.info("The board does not know that job %s is %s: %s", name, "over" if consume else "free", failure)

    def _keep_no_more(self, job: Any) -> None:
        """Renew the claim of a job no more; it is let go with its report."""
        with self._holding:
            self._held.pop(job.name, None)

    def _show(self) -> None:
        self.runner.services.persistence.conductors.beat(self._record)

    def _renew(self) -> None:
        with self._holding:
            held = list(self._held.values())
            if held:
                self._board.renew(held, self._name)

    def _tidy(self) -> None:
        services = self.runner.services
        services.persistence.conductors.forget(_FORGOTTEN)
        removed = tidy_staging(services)
        if removed:
            LOG.info("%d staged files that nobody needs any more were removed", removed)
        over = timeutils.utcnow() - self._retention
        while not self._pause.is_stopped() and services.persistence.records.expire(over):
            continue  # they are forgotten some at a time, in short transactions

    def _sign_off(self) -> None:
        with suppress(errors.DatabaseError):  # it falls silent then, which tells as much
            self.runner.services.persistence.conductors.leave(self._name)


class _View:
    """The board as taskflow's conductor is shown it: only what this one could do, and a note of what it claims."""

    connected = True

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def register_entity(self, entity: Any) -> None:
        """Nothing: the list of conductors is in the database."""

    def iterjobs(self, ensure_fresh: bool = False) -> Iterator[Any]:
        """Yield what could be done."""
        return self._conductor.candidates()

    def claim(self, job: Any, who: str) -> None:
        """Claim a job."""
        self._conductor.claim(job)


def _fields(record: ConductorRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ConductorRecord.__slots__}
