"""Seeing one run through: build its flow, hand it its services, drive taskflow's engine, and tell what came of it."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskflow import engines
from taskflow import exceptions as taskflow_exceptions
from taskflow import states as taskflow_states
from taskflow.persistence import models

from glance_flows import errors
from glance_flows.flow import Flow, tasks_of
from glance_flows.run import Run
from glance_flows.services import Services
from glance_flows.task import Leftovers, Task
from glance_flows.tasks.reasons import first_cause

LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_UNDONE = (taskflow_states.REVERTED, taskflow_states.FAILURE)
_INTERRUPTED = (taskflow_states.RUNNING, taskflow_states.REVERTING)


class Execution:
    """One attempt to bring a run to its end.

    :param services: what the tasks are handed
    :param run: the run
    :param flow: its flow, built from its specification
    :param mode: of taskflow's engine, ``parallel`` or ``serial``
    :param pool: runs the tasks of a parallel engine; shared, and never the pool that this is called in
    """

    def __init__(self, services: Services, run: Run, flow: Flow, mode: str, pool: ThreadPoolExecutor) -> None:
        self._services = services
        self._run = run
        self._flow = flow
        self._mode = mode
        self._pool = pool

    def drive(self) -> dict[str, Any]:
        """Run the flow from where it is, and return its facts.

        :raises Suspended: it was suspended and can be driven again
        :raises DatabaseError: its state could not be saved; it is where it was last saved, and can be driven again
        :raises GlanceFlowsError: why it failed, everything being undone
        """
        engine = self._engine(self._detail())
        try:
            state = engine.storage.get_flow_state()
            if state not in _UNDONE:
                self._turn(engine)
            failures = engine.storage.get_execute_failures()
            if engine.storage.get_flow_state() != taskflow_states.SUCCESS:
                raise self._explained(first_cause(failures))
        except taskflow_exceptions.StorageFailure as failure:
            raise errors.DatabaseError(f"the state of run {self._run.id} could not be saved: {failure}") from failure
        return self._facts(engine)

    def finish_undoing(self, leftovers: list[dict[str, str]]) -> None:
        """Do once more what an ended run could not: undo tasks, or repeat the last ones; what fails is left again (F6).

        :param leftovers: as :attr:`Leftovers.records` tells them
        """
        engine = self._engine(self._detail())
        tasks: dict[str, Any] = dict(tasks_of(self._flow))
        for name, action in dict.fromkeys((item["task"], item["action"]) for item in leftovers):
            if name in tasks:
                self._once_more(engine, tasks[name], action)
            else:
                self._run.leftovers.of(name, action).add(f"{name} is not known to this version")

    def _detail(self) -> models.FlowDetail | None:
        if not self._run.spec.factory.persisted:
            return None
        return self._services.persistence.book(self._run.id, self._run.spec.flow)

    def _engine(self, detail: models.FlowDetail | None) -> Any:
        facts = {"run_id": self._run.id, **self._run.spec.facts()}
        stored = {} if detail is None else {"flow_detail": detail, "backend": self._services.persistence.backend}
        executor = self._pool if self._mode == "parallel" else None
        engine = engines.load(self._flow, engine=self._mode, executor=executor, store=facts, **stored)
        engine.compile()
        engine.prepare()
        engine.storage.inject(self._injected(), transient=True)
        return engine

    def _injected(self) -> dict[str, Any]:
        run = self._run
        own = {"cancel": run.token, "progress": run.board, "leftovers": run.leftovers}
        return {**self._services.injected(), **own}

    def _turn(self, engine: Any) -> None:
        """Let the engine run until it is done, or suspended after the tasks in hand."""
        asked = False
        try:
            for _ in engine.run_iter(timeout=_POLL_SECONDS):
                if self._run.suspended.is_set() and not asked:
                    engine.suspend()
                    asked = True
        except (taskflow_exceptions.WrappedFailure, errors.GlanceFlowsError) as failure:
            LOG.debug("The engine of run %s ended with %s", self._run.id, failure)
        if asked and self._repaired(engine):
            raise errors.Suspended(f"run {self._run.id} is suspended; glance-flows run resume goes on with it.")

    def _repaired(self, engine: Any) -> bool:
        """Tell whether the flow is to go on later.

        Tasks that were waiting for a thread when the engine was suspended are left as running, and the engine then
        takes the flow for undone; it is set right here.
        """
        storage = engine.storage
        names = [name for name, _ in tasks_of(self._flow)]
        open_atoms = any(state in _INTERRUPTED for state, _ in storage.get_atoms_states(names).values())
        if open_atoms or storage.get_flow_state() == taskflow_states.SUSPENDED:
            storage.set_flow_state(taskflow_states.SUSPENDED)
            return True
        return False

    def _explained(self, cause: BaseException | None) -> BaseException:
        """Return the error to raise: the reason why the run was stopped, where it was stopped."""
        reason = self._run.token.reason
        if reason is not None and (cause is None or isinstance(cause, errors.Cancelled)):
            return reason
        # The data that an import reads goes together with its image: that it is missing is only an echo (C15).
        if isinstance(cause, errors.SourceFailed) and "resolved" in self._run.spec.arguments:
            sign = self._services.db.claims.look([self._run.image_id]).get(self._run.image_id)
            if sign is None or sign.gone:
                return errors.Gone(f"image {self._run.image_id} was deleted.")
        return cause or errors.TaskFailed("the run failed without telling why.")

    def _facts(self, engine: Any) -> dict[str, Any]:
        services = self._injected()
        return {name: fact for name, fact in engine.storage.fetch_all().items() if name not in services}

    def _once_more(self, engine: Any, task: Task, action: str) -> None:
        known = {
            **engine.storage.fetch_all(),
            **self._injected(),
            "flow_failures": engine.storage.get_execute_failures(),
        }
        wanted = task.revert_requires if action == "revert" else task.requires
        missing = [name for name in wanted if name not in known]
        if missing:
            self._run.leftovers.of(task.name, action).add(f"{task.name} lacks what it needs: {', '.join(missing)}")
            return
        arguments = {name: known[name] for name in wanted}
        if action == "revert":
            arguments["leftovers"] = self._run.leftovers
            task.revert(**arguments, result=None)
            return
        try:
            task.execute(**arguments)
        except errors.GlanceFlowsError as failure:
            Leftovers(task.name, action, self._run.leftovers._items).add(f"{task.name} could not be done", failure)
