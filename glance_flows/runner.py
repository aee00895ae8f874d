"""The runner: decides where and when a described flow happens, and sees it through."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from oslo_config import cfg

from glance_flows import errors
from glance_flows.execution import Execution
from glance_flows.flow import Flow, FlowSpec
from glance_flows.identity import Identity
from glance_flows.listeners import Pulse
from glance_flows.notify import Notifier
from glance_flows.persistence.postings import NORMAL, PRIORITIES
from glance_flows.persistence.records import FAILURE, POSTED, SUCCESS, SUSPENDED, Record
from glance_flows.placement import needs_of
from glance_flows.posted import Posted
from glance_flows.resumption import Resumption
from glance_flows.run import Run
from glance_flows.services import Services
from glance_flows.version import VERSION

LOG = logging.getLogger(__name__)


class Runner:
    """Runs flows in this process, many at once, on shared pools of threads.

    Flows and their tasks have a pool each: a flow that waited in the pool of its own tasks would wait for ever.

    :param services: what the tasks are handed
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.holder = f"{services.host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        conf = services.conf
        workers = conf.taskflow_executor.max_workers
        self._mode = conf.taskflow_executor.engine_mode
        self._flows = ThreadPoolExecutor(workers, thread_name_prefix="flow")
        self._tasks = ThreadPoolExecutor(
            max(workers * conf.image_import_opts.max_parallel_stores, conf.scrub_pool_size), thread_name_prefix="task"
        )
        self._pulse = Pulse(services, self.holder)
        self._runs: dict[str, Run] = {}

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, *, notifier: Notifier | None = None, imports: bool = True) -> Self:
        """Return a runner for a configuration.

        :param notifier: told of every event; by default the log is
        :param imports: whether it may be asked to import images; a runner that scrubs is made in half the time
        :raises ConfigurationError: naming the option that is wrong (D2)
        """
        return cls(Services.from_conf(conf, notifier, imports=imports))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def submit(self, spec: FlowSpec, *, identity: Identity | None = None) -> Run:
        """Start a flow in the background.

        :param identity: who asks; None is the operator
        :return: the run, already under way
        :raises GlanceFlowsError: the request is refused at the door, and nothing of it is left (C2 to C9)
        """
        run = self._begun(spec, identity)
        self._flows.submit(self._execute, run)
        return run

    def run(self, spec: FlowSpec, *, identity: Identity | None = None) -> Any:
        """Run a flow here and now, and return its result.

        :raises GlanceFlowsError: the request was refused, or what failed, after everything was put back
        """
        run = self._begun(spec, identity)
        self._execute(run)
        return run.result()

    def defer(self, spec: FlowSpec, *, identity: Identity | None = None) -> Run:
        """Admit a flow and write it down, to be begun by whoever resumes it: another process, say.

        :return: the run, suspended before its first task
        :raises BadRequest: runs of this flow do not outlive their process
        :raises GlanceFlowsError: the request is refused at the door
        """
        _refuse_fleeting(spec)
        run = Run(self._resolved(spec, identity))
        run.state = SUSPENDED
        self._write_down(run)
        return run

    def post(self, spec: FlowSpec, *, identity: Identity | None = None, priority: str = NORMAL) -> Posted:
        """Admit a flow and leave it to whichever host runs ``glance-flows conductor`` (F5).

        A jobboard that cannot be reached delays the run and loses nothing: conductors look into the list of runs, too.

        :param priority: ``high``, ``normal`` or ``low``; within one the oldest run is the first
        :return: the run, as it can be followed from anywhere
        :raises ConfigurationError: no jobboard is configured
        :raises BadRequest: runs of this flow do not outlive their process, or there is no such priority
        :raises GlanceFlowsError: the request is refused at the door
        """
        _refuse_fleeting(spec)
        if priority not in PRIORITIES:
            raise errors.BadRequest(f"priority: {priority!r} is none of {', '.join(PRIORITIES)}.")
        board, persistence = self.services.board, self.services.persistence
        run = Run(self._resolved(spec, identity))
        persistence.ready()
        record = Record(run.id, run.spec, POSTED, self.holder, version=VERSION, image_id=run.image_id)
        posting = persistence.postings.create(record, needs_of(run.spec, self.services), priority)
        try:
            # Half of it: the runs that already wait for room on the board are to come before this one.
            if 2 * board.count() < self.services.conf.glance_flows.jobboard_window:
                board.post(run.id, posting.details, priority)
        except errors.BoardUnavailable as failure:
            LOG.warning("Run %s is not on the board yet; a conductor puts it there: %s", run.id, failure)
        return Posted(run.id, persistence.records)

    def work(self, record: Record) -> Run:
        """Take a run over and see it through here and now; for conductors.

        :return: the run, which has ended one way or the other
        :raises Conflict: it cannot be taken up, and why
        """
        run = self._taken_over(Resumption(self.services, self.holder, self.build), record)
        self._execute(run, record)
        return run

    def resume(
        self, run_id: str | None = None, *, told: Callable[[Record, str], None] = lambda record, why: None
    ) -> list[Run]:
        """Take up runs that a dead process left, and those that have something left to undo (F3, F6).

        :param run_id: one run; None takes up every one that can be
        :param told: called with each run that is not taken up, and why
        :return: the runs, already under way
        :raises NotFound: there is no run of this id
        :raises Conflict: this one run cannot be taken up, and why: it is alive, or over, or needs what this host lacks
        """
        resumption = Resumption(self.services, self.holder, self.build)
        found = []
        for record in resumption.candidates(run_id):
            try:
                found.append(self._taken(resumption, record))
            except errors.Conflict as why:
                if run_id is not None:
                    raise
                LOG.info("Not resumed: %s", why)
                told(record, str(why))
        return found

    def cancel(self, run_id: str, reason: str = "the run was cancelled.") -> Run | None:
        """Have a run stopped and undone, wherever it is (C27).

        :return: None where a live process works on it, which stops within seconds; otherwise the run, taken up here
        :raises NotFound: there is no run of this id
        :raises Conflict: it is over, or it is dead and cannot be taken up here
        """
        self.services.persistence.ready()
        records = self.services.persistence.records
        resumption = Resumption(self.services, self.holder, self.build)
        asked = records.ask_to_cancel(run_id, reason)
        record = records.get(run_id)
        if not asked:
            raise errors.Conflict(f"run {run_id} is over: {record.state}.")
        return None if resumption.alive(record) else self._taken(resumption, record)

    def _taken(self, resumption: Resumption, record: Record) -> Run:
        run = self._taken_over(resumption, record)
        self._flows.submit(self._execute, run, record)
        return run

    def _taken_over(self, resumption: Resumption, record: Record) -> Run:
        asked = time.monotonic()
        return self._started(resumption.take(record), asked, record.leftovers)

    def build(self, spec: FlowSpec) -> Flow:
        """Return the flow of an admitted specification; a test may put something else in its place."""
        return spec.build()

    def cancel_all(self, reason: str) -> None:
        """Ask every run to stop and undo what it did."""
        for run in list(self._runs.values()):
            run.cancel(reason)

    def stop(self, grace: float | None = None) -> list[str]:
        """Suspend every run, and give the tasks in hand some time to end.

        A process that is told to stop calls this and then ends, whatever its threads still do: the runs that did not
        stop in time have given up their lease, are suspended like the others, and can be taken up at once.

        :param grace: seconds, by default ``stop_grace``
        :return: ids of the runs that did not stop in time; the process must end where there are any
        """
        waited = float(self.services.conf.glance_flows.stop_grace) if grace is None else grace
        end = time.monotonic() + waited
        runs = [run for run in list(self._runs.values()) if run.spec.factory.persisted]
        for run in runs:
            run.suspend()
        late = [run for run in runs if not run.wait(max(0.0, end - time.monotonic()))]
        for run in late:
            self._pulse.remove(run)
            told = f"run {run.id} was stopped in the middle of a task; glance-flows run resume goes on with it."
            self._end(run, SUSPENDED, told)
            if run.token.lease is not None:
                run.token.lease.lose(told)
        return [run.id for run in late]

    def close(self) -> None:
        """Wait for the runs to end, and close what is open; see :meth:`stop` for a process that must not wait."""
        self._flows.shutdown(wait=True)
        self._tasks.shutdown(wait=True)
        self._pulse.close()
        self.services.close()

    def _resolved(self, spec: FlowSpec, identity: Identity | None) -> FlowSpec:
        admit = spec.factory.admit
        return admit(spec, self.services, identity) if admit is not None else spec

    def _begun(self, spec: FlowSpec, identity: Identity | None) -> Run:
        run = Run(self._resolved(spec, identity))
        asked = time.monotonic()
        if run.spec.factory.persisted:
            self._write_down(run)
        return self._started(run, asked)

    def _write_down(self, run: Run) -> None:
        self.services.persistence.ready()
        record = Record(run.id, run.spec, run.state, self.holder, version=VERSION, image_id=run.image_id)
        self.services.persistence.records.create(record)

    def _started(self, run: Run, asked: float, before: tuple[Mapping[str, str], ...] = ()) -> Run:
        """Watch over a run from now on, though it may have to wait for a thread; what it leaves is written at once.

        :param asked: when the statement was sent that made the run ours, in monotonic time: the lease counts from then
        :param before: what an earlier process left of it
        """
        self._runs[run.id] = run
        if run.spec.factory.persisted:
            run.leftovers.told = lambda: self._note(run, before)
            self._pulse.add(run, asked)
        return run

    def _note(self, run: Run, before: tuple[Mapping[str, str], ...]) -> None:
        try:
            self.services.persistence.records.note_leftovers(run.id, self.holder, [*before, *run.leftovers.records])
        except errors.DatabaseError as failure:
            LOG.warning("What run %s left behind could not be written down yet: %s", run.id, failure)

    def _execute(self, run: Run, resumed: Record | None = None) -> None:
        emit = _events_of(run, self.services.notifier)
        result, failure = None, None
        try:
            result = self._drive(run, resumed, emit)
        except Exception as cause:
            failure = cause if isinstance(cause, errors.GlanceFlowsError) else _unforeseen(cause)
        finally:
            self._pulse.remove(run)
            self._runs.pop(run.id, None)
        if run.spec.factory.persisted:
            failure = self._note_end(run, failure)
        if not (_lost(run) or isinstance(failure, errors.Suspended | errors.StateLost)):
            emit("end", state=FAILURE if failure else SUCCESS, error=str(failure) if failure else None)
        run.end(result, failure)

    def _drive(self, run: Run, resumed: Record | None, emit: Callable[..., None]) -> Any:
        flow = self.build(run.spec)
        execution = Execution(self.services, run, self.holder, flow, self._mode, self._tasks)
        if resumed is None or not self.services.persistence.begun(run.id):
            emit("start")
            return execution.drive()
        if run.overtaken:
            execution.clear_up()
            raise errors.LockLost(f"image {run.image_id} was taken over while run {run.id} was dead.")
        result, failure = None, None
        try:
            result = execution.drive()
        except (errors.Suspended, errors.StateLost):
            run.leftovers.restore(resumed.leftovers)
            raise
        except errors.GlanceFlowsError as cause:
            failure = cause
        if resumed.leftovers and not _lost(run):
            execution.finish_undoing(resumed.leftovers)
        if failure is not None:
            raise errors.TaskFailed(resumed.error) if resumed.state == FAILURE and resumed.error else failure
        return result

    def _note_end(self, run: Run, failure: errors.GlanceFlowsError | None) -> errors.GlanceFlowsError | None:
        """Write down how a run ended; what cannot be written is left to a resume."""
        if isinstance(failure, errors.StateLost) or _lost(run):
            return failure
        state = SUCCESS if failure is None else SUSPENDED if isinstance(failure, errors.Suspended) else FAILURE
        lost = self._end(run, state, None if failure is None else str(failure))
        return failure or lost

    def _end(self, run: Run, state: str, told: str | None) -> errors.GlanceFlowsError | None:
        records, parts = self.services.persistence.records, [part.to_json() for part in run.board.parts]
        try:
            ours = records.end(run.id, self.holder, state, told, run.leftovers.records, parts or None)
        except errors.DatabaseError as lost:
            LOG.error("The end of run %s could not be written down: %s", run.id, lost)
            return errors.StateLost(f"run {run.id} has ended, but that could not be written down: {lost}")
        if not ours and run.token.lease is not None:
            run.token.lease.lose(f"run {run.id} was taken over by another process.")
        return run.token.lease.lost if run.token.lease is not None else None


def _refuse_fleeting(spec: FlowSpec) -> None:
    if not spec.factory.persisted:
        raise errors.BadRequest(f"a run of the flow {spec.flow} does not outlive its process.")


def _lost(run: Run) -> bool:
    return run.token.lease is not None and run.token.lease.lost is not None


def _unforeseen(cause: BaseException) -> errors.GlanceFlowsError:
    LOG.error("The run failed outside its tasks", exc_info=cause)
    return errors.TaskFailed(f"the run failed: {type(cause).__name__}: {cause}")


def _events_of(run: Run, notifier: Notifier) -> Callable[..., None]:
    """Return a function that emits the start and the end of a run (C18)."""
    kind = run.spec.factory.event
    payload: dict[str, Any] = {"id": run.image_id, "run": run.id, "flow": run.spec.flow}
    request = run.spec.plain().get("resolved")
    if request is not None:
        payload |= {"method": request["method"], "stores": request["stores"]}

    def emit(moment: str, **more: Any) -> None:
        if kind is not None:
            notifier.emit(f"{kind}.{moment}", {**payload, **more})

    return emit
