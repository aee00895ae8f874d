"""The runner: decides where and when a described flow happens, and sees it through."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from oslo_config import cfg
from taskflow import engines
from taskflow import exceptions as taskflow_exceptions

from glance_flows import errors
from glance_flows.flow import Flow, FlowSpec
from glance_flows.identity import Identity
from glance_flows.listeners import Pulse
from glance_flows.notify import Notifier
from glance_flows.run import FAILURE, SUCCESS, Run
from glance_flows.services import Services
from glance_flows.tasks.reasons import first_cause

LOG = logging.getLogger(__name__)


class Runner:
    """Runs flows in this process, many at once, on shared pools of threads.

    Flows and their tasks have a pool each: a flow that waited in the pool of its own tasks would wait for ever.

    :param services: what the tasks are handed
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        conf = services.conf
        workers = conf.taskflow_executor.max_workers
        self._mode = conf.taskflow_executor.engine_mode
        self._flows = ThreadPoolExecutor(workers, thread_name_prefix="flow")
        self._tasks = ThreadPoolExecutor(
            max(workers * conf.image_import_opts.max_parallel_stores, conf.scrub_pool_size), thread_name_prefix="task"
        )
        own = conf.glance_flows
        self._pulse = Pulse(services.db, own.lease_seconds, own.progress_interval)
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

    def build(self, spec: FlowSpec) -> Flow:
        """Return the flow of an admitted specification; a test may put something else in its place."""
        return spec.build()

    def cancel_all(self, reason: str) -> None:
        """Ask every run to stop and undo what it did."""
        for run in list(self._runs.values()):
            run.cancel(reason)

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
        self._runs[run.id] = run
        return run

    def _execute(self, run: Run) -> None:
        if "request" in run.spec.facts():
            self._pulse.add(run)
        emit = _events_of(run, self.services.notifier)
        result, failure = None, None
        try:
            emit("start")
            result = self._drive(run)
        except Exception as cause:
            failure = cause if isinstance(cause, errors.GlanceFlowsError) else _unforeseen(cause)
        finally:
            self._pulse.remove(run)
            self._runs.pop(run.id, None)
        emit("end", state=FAILURE if failure else SUCCESS, error=str(failure) if failure else None)
        run.end(result, failure)

    def _drive(self, run: Run) -> dict[str, Any]:
        facts = {"run_id": run.id, **run.spec.facts()}
        engine = engines.load(self.build(run.spec), engine=self._mode, executor=self._executor(), store=facts)
        own = {"cancel": run.token, "progress": run.board, "leftovers": run.leftovers}
        services = {**self.services.injected(), **own}
        engine.storage.inject(services, transient=True)
        try:
            engine.run()
        except (taskflow_exceptions.WrappedFailure, errors.GlanceFlowsError):
            cause = first_cause(engine.storage.get_execute_failures())
            raise self._explained(cause, run) from None
        return {name: fact for name, fact in engine.storage.fetch_all().items() if name not in services}

    def _explained(self, cause: BaseException | None, run: Run) -> BaseException:
        """Return the error to raise: the reason why the run was stopped, where it was stopped."""
        if run.token.reason is not None and (cause is None or isinstance(cause, errors.Cancelled)):
            return run.token.reason
        # The data that an import reads goes together with its image: that it is missing is only an echo (C15).
        if isinstance(cause, errors.SourceFailed) and "resolved" in run.spec.arguments:
            sign = self.services.db.claims.look([run.image_id]).get(run.image_id)
            if sign is None or sign.gone:
                return errors.Gone(f"image {run.image_id} was deleted.")
        return cause or errors.TaskFailed("the run failed without telling why.")

    def _executor(self) -> ThreadPoolExecutor | None:
        return self._tasks if self._mode == "parallel" else None


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
