"""The runner: decides where and when a described flow happens, and sees it through."""

import logging
import os
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from oslo_config import cfg

from glance_flows import errors
from glance_flows.execution import Execution
from glance_flows.flow import Flow, FlowSpec
from glance_flows.identity import Identity
from glance_flows.listeners import Pulse
from glance_flows.notify import Notifier
from glance_flows.persistence.records import FAILURE, RUNNING, SUCCESS, SUSPENDED, Record
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
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
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
    def from_conf(cls, conf: cfg.ConfigOpts, *, notifier: Notifier | None = None) -> Self:
        """Return a runner for a configuration.

        :param notifier: told of every event; by default the log is
        :raises ConfigurationError: naming the option that is wrong (D2)
        """
        return cls(Services.from_conf(conf, notifier))

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
        run = self._admitted(spec, identity)
        self._flows.submit(self._execute, run)
        return run

    def run(self, spec: FlowSpec, *, identity: Identity | None = None) -> Any:
        """Run a flow here and now, and return its result.

        :raises GlanceFlowsError: the request was refused, or what failed, after everything was put back
        """
        run = self._admitted(spec, identity)
        self._execute(run)
        return run.result()

    def resume(self, run_id: str | None = None) -> list[Run]:
        """Take up runs that a dead process left, and those that have something left to undo (F3, F6).

        :param run_id: one run; None takes up every one that can be
        :return: the runs, already under way
        :raises NotFound: there is no run of this id
        :raises Conflict: this one run cannot be taken up, and why: it is alive, or over, or needs what this host lacks
        """
        resumption = Resumption(self.services, self.holder, self.build)
        found = []
        for record in resumption.candidates(run_id):
            run = resumption.take(record, strict=run_id is not None)
            if run is not None:
                self._runs[run.id] = run
                found.append(run)
                self._flows.submit(self._execute, run, record)
        return found

    def build(self, spec: FlowSpec) -> Flow:
        """Return the flow of an admitted specification; a test may put something else in its place."""
        return spec.build()

    def cancel_all(self, reason: str) -> None:
        """Ask every run to stop and undo what it did."""
        for run in list(self._runs.values()):
            run.cancel(reason)

    def suspend_all(self) -> None:
        """Ask every run to stop after the tasks in hand, so that it can be resumed anywhere."""
        for run in list(self._runs.values()):
            run.suspend()

    def close(self) -> None:
        """Wait for the runs to end, and close what is open."""
        self._flows.shutdown(wait=True)
        self._tasks.shutdown(wait=True)
        self._pulse.close()
        self.services.close()

    def _admitted(self, spec: FlowSpec, identity: Identity | None) -> Run:
        admit = spec.factory.admit
        resolved = admit(spec, self.services, identity) if admit is not None else spec
        run = Run(resolved)
        if resolved.factory.persisted:
            self.services.persistence.ready()
            record = Record(run.id, resolved, RUNNING, self.holder, version=VERSION, image_id=run.image_id)
            self.services.persistence.records.create(record)
        self._runs[run.id] = run
        return run

    def _execute(self, run: Run, resumed: Record | None = None) -> None:
        persisted = run.spec.factory.persisted
        if persisted:
            self._pulse.add(run)
        emit = _events_of(run, self.services.notifier)
        result, failure = None, None
        try:
            result = self._drive(run, resumed, emit)
        except Exception as cause:
            failure = cause if isinstance(cause, errors.GlanceFlowsError) else _unforeseen(cause)
        finally:
            self._pulse.remove(run)
            self._runs.pop(run.id, None)
        if persisted:
            failure = self._note_end(run, failure)
        emit("end", state=FAILURE if failure else SUCCESS, error=str(failure) if failure else None)
        run.end(result, failure)

    def _drive(self, run: Run, resumed: Record | None, emit: Callable[..., None]) -> Any:
        execution = Execution(self.services, run, self.build(run.spec), self._mode, self._tasks)
        if resumed is not None and resumed.leftovers:
            execution.finish_undoing([dict(item) for item in resumed.leftovers])
            if resumed.state == FAILURE:
                raise errors.TaskFailed(resumed.error)
            return None
        if resumed is None:
            emit("start")
        return execution.drive()

    def _note_end(self, run: Run, failure: errors.GlanceFlowsError | None) -> errors.GlanceFlowsError | None:
        """Write down how a run ended; what cannot be written is left to a resume."""
        if isinstance(failure, errors.DatabaseError) and "could not be saved" in str(failure):
            return failure
        state = SUCCESS if failure is None else SUSPENDED if isinstance(failure, errors.Suspended) else FAILURE
        told = None if failure is None else str(failure)
        try:
            self.services.persistence.records.end(run.id, self.holder, state, told, run.leftovers.records)
        except errors.DatabaseError as lost:
            LOG.error("The end of run %s could not be written down: %s", run.id, lost)
            return failure or lost
        return failure


def _unforeseen(cause: BaseException) -> errors.GlanceFlowsError:
    LOG.error("The run failed outside its tasks", exc_info=cause)
    return errors.TaskFailed(f"the run failed: {type(cause).__name__}: {cause}")


def _events_of(run: Run, notifier: Notifier) -> Callable[..., None]:
    """Return a function that emits the start and the end of a run (C18)."""
    kind = run.spec.factory.event
    payload: dict[str, Any] = {"id": run.image_id, "run": run.id, "flow": run.spec.flow}
    request = run.spec.arguments.get("resolved")
    if request is not None:
        payload |= {"method": request["method"], "stores": request["stores"]}

    def emit(moment: str, **more: Any) -> None:
        if kind is not None:
            notifier.emit(f"{kind}.{moment}", {**payload, **more})

    return emit
