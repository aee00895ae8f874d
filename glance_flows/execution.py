"""Seeing one run through: build its flow, hand it its services, drive taskflow's engine, and tell what came of it."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskflow import exceptions as taskflow_exceptions
from taskflow import states as taskflow_states
from taskflow.engines.action_engine import engine as engines
from taskflow.utils import persistence_utils

from glance_flows import errors, states
from glance_flows.flow import Flow, tasks_of
from glance_flows.persistence.book import Book
from glance_flows.run import Run
from glance_flows.services import Services
from glance_flows.task import Task
from glance_flows.tasks.hold import Hold
from glance_flows.tasks.reasons import first_cause
from glance_flows.tasks.upload import Upload

LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_ENDED = (taskflow_exceptions.WrappedFailure, taskflow_exceptions.TaskFlowException, errors.GlanceFlowsError)
_UNDONE = (
    taskflow_states.FAILURE,
    taskflow_states.REVERTING,
    taskflow_states.REVERTED,
    taskflow_states.REVERT_FAILURE,
)
#: By name, as taskflow's loader finds them; it would first search through all that is installed.
_ENGINES = {"parallel": engines.ParallelActionEngine, "serial": engines.SerialActionEngine}
#: The task that notes what was staged at first.
_PIN = "pin"
_INTERRUPTED = (taskflow_states.RUNNING, taskflow_states.REVERTING)


class Execution:
    """One attempt to bring a run to its end.

    :param services: what the tasks are handed
    :param run: the run
    :param holder: the name of this process in the list of runs
    :param flow: its flow, built from its specification
    :param mode: of taskflow's engine, ``parallel`` or ``serial``
    :param pool: runs the tasks of a parallel engine; shared, and never the pool that this is called in
    """

    def __init__(
        self, services: Services, run: Run, holder: str, flow: Flow, mode: str, pool: ThreadPoolExecutor
    ) -> None:
        self._services = services
        self._run = run
        self._holder = holder
        self._book: Book | None = None
        self._flow = flow
        self._mode = mode
        self._pool = pool

    def drive(self) -> dict[str, Any]:
        """Run the flow from where it is, and return its facts.

        :raises Suspended: it was suspended and can be driven again
        :raises StateLost: its state could not be saved; it is where it was last saved, and can be driven again
        :raises LockLost: the run is another process's by now
        :raises GlanceFlowsError: why it failed, everything being undone
        """
        self._leave_if_suspended()
        engine = self._engine()
        try:
            if engine.storage.get_flow_state() != taskflow_states.REVERTED:
                self._turn(engine)
            failures = engine.storage.get_execute_failures()
            self._flush()
            if engine.storage.get_flow_state() != taskflow_states.SUCCESS:
                raise self._explained(first_cause(failures))
        except taskflow_exceptions.StorageFailure as failure:
            raise errors.StateLost(f"the state of run {self._run.id} could not be saved: {failure}") from failure
        return self._facts(engine)

    def finish_undoing(self, leftovers: Iterable[Mapping[str, str]]) -> None:
        """Do once more what an ended run could not: undo tasks, or repeat the last ones; what fails is left again (F6).

        :param leftovers: as :attr:`Leftovers.records` tells them
        """
        engine = self._engine()
        tasks: dict[str, Any] = dict(tasks_of(self._flow))
        with self._holding():
            self._repeat(engine, tasks, leftovers)

    def _repeat(self, engine: Any, tasks: dict[str, Any], leftovers: Iterable[Mapping[str, str]]) -> None:
        for name, action in dict.fromkeys((item["task"], item["action"]) for item in leftovers):
            if name in tasks:
                self._once_more(engine, tasks[name], action)
            else:
                self._run.leftovers.of(name, action).add(f"{name} is not known to this version")

    def clear_up(self) -> None:
        """Undo what is certainly the run's, and nobody else's; another one overtook it while it was dead."""
        engine = self._engine()
        names = [name for name, _ in tasks_of(self._flow)]
        known = engine.storage.get_atoms_states(names)
        begun = [name for name in reversed(names) if known[name][0] not in (None, taskflow_states.PENDING)]
        tasks: dict[str, Any] = dict(tasks_of(self._flow))
        with self._holding():
            for name in begun:
                if getattr(tasks[name], "clears_up", False):
                    self._once_more(engine, tasks[name], "revert")

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        """Keep the image for the block, whose lock was taken for it, and drop the lock at the end."""
        db, run = self._services.db, self._run
        with Hold(lambda: db.pending.renew(run.id, [run.image_id]), self._services.conf.glance_flows.lease_seconds):
            yield
        db.claims.drop(run.id, run.image_id)

    def _leave_if_suspended(self) -> None:
        if self._run.suspended.is_set():
            raise self._suspended()

    def _suspended(self) -> errors.Suspended:
        return errors.Suspended(f"run {self._run.id} is suspended; glance-flows run resume goes on with it.")

    def _flush(self) -> None:
        if self._book is not None:
            self._book.flush()

    def _engine(self) -> Any:
        if self._run.spec.factory.persisted:
            self._book = self._services.persistence.book(
                self._run.id, self._run.spec.flow, self._holder, self._why_lost
            )
        detail = self._book.detail if self._book is not None else persistence_utils.create_flow_detail(self._flow)
        executor = self._pool if self._mode == "parallel" else None
        for _, task in tasks_of(self._flow):
            if isinstance(task, Task):
                task.token = self._run.token
        engine: Any = _ENGINES[self._mode](self._flow, detail, self._book, {"executor": executor})
        engine.storage.inject({"run_id": self._run.id, **self._run.spec.facts()})
        before = engine.storage.get_flow_state()
        if before in (taskflow_states.FAILURE, taskflow_states.REVERTED):
            # Tasks that fail are undone: a failure is the engine's own, for want of its database, and the flow goes on.
            # An undone flow would be forgotten and begun anew.
            engine.storage.set_flow_state(taskflow_states.SUSPENDED)
        engine.compile()
        engine.prepare()
        if before == taskflow_states.REVERTED:
            engine.storage.set_flow_state(before)
        engine.storage.inject(self._injected(), transient=True)
        self._stage_again(engine)
        return engine

    def _stage_again(self, engine: Any) -> None:
        """Have the bytes fetched once more where an upload still needs them and this host does not see them (F5)."""
        tasks = tasks_of(self._flow)
        known = engine.storage.get_atoms_states([name for name, _ in tasks])
        if self._run.token.reason is not None or any(state in _UNDONE for state, _ in known.values()):
            return
        if all(known[name][0] == taskflow_states.SUCCESS for name, task in tasks if isinstance(task, Upload)):
            return
        pinned = self._result(_PIN)
        # What was interrupted would be taken up at once, before there are bytes for it.
        interrupted = [name for name, (state, _) in known.items() if state == taskflow_states.RUNNING]
        for name in [name for name, task in tasks if getattr(task, "stages_again", False)]:
            staged = self._result(name)
            if staged is not None and os.path.exists(staged["path"]):
                continue
            if staged is not None:
                LOG.info("Run %s: %s is done again, since its file is not to be seen here", self._run.id, name)
                for again in (*interrupted, name):
                    engine.storage.reset(again)
            if pinned is not None:
                engine.storage.inject_atom_args(name, {"staged_before": pinned})

    def _why_lost(self) -> errors.LockLost | None:
        lease = self._run.token.lease
        return None if lease is None else lease.lost

    def _injected(self) -> dict[str, Any]:
        run = self._run
        own = {"cancel": run.token, "progress": run.board, "leftovers": run.leftovers}
        return {**self._services.injected(), **own}

    def _turn(self, engine: Any) -> None:
        """Let the engine run until it is done, or suspended after the tasks in hand."""
        while self._advance(engine):
            if self._run.token.reason is None:
                self._flush()
                raise self._suspended()
            # It was cancelled while the tasks in hand came to their end: it goes on, to be undone.

    def _advance(self, engine: Any) -> bool:
        """Let the engine run; tell whether it was suspended and can go on.

        :raises LockLost, StateLost: see :meth:`_stop_if_lost`
        """
        asked = False
        failure: BaseException | None = None
        try:
            for _ in engine.run_iter(timeout=_POLL_SECONDS):
                if self._run.suspended.is_set() and not asked and self._run.token.reason is None:
                    engine.suspend()
                    asked = True
        except _ENDED as ended:
            LOG.debug("The engine of run %s ended with %s", self._run.id, ended)
            failure = ended
        self._stop_if_lost(failure)
        if isinstance(failure, taskflow_exceptions.TaskFlowException):
            raise failure
        return asked and self._repaired(engine)

    def _stop_if_lost(self, failure: BaseException | None) -> None:
        """Leave everything as it is where the run is not ours any more, or its state cannot be saved.

        :raises LockLost, StateLost: which of the two
        """
        lease = self._run.token.lease
        lost = (lease and lease.lost) or (self._book and self._book.lost)
        if lost:
            if lease is not None:
                lease.lose(str(lost))  # tasks that are still at work stop, and undo nothing
            raise lost from failure

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
            **self._provided(),
            **self._injected(),
            "flow_failures": engine.storage.get_execute_failures(),
            "result": None,
        }
        result = self._result(task.name)
        if "before" in known:
            known["before"] = self._before_now(known["before"], result)
        if not task.irreversible:
            action = "revert"  # what an upload left when it failed, say, is removed and not uploaded again
        wanted = task.revert_rebind if action == "revert" else task.rebind
        missing = [name for name in wanted.values() if name not in known]
        if missing:
            self._run.leftovers.of(task.name, action).add(f"{task.name} lacks what it needs: {', '.join(missing)}")
            return
        arguments = {argument: known[name] for argument, name in wanted.items()}
        if action == "revert":
            task.revert(**{**arguments, "leftovers": self._run.leftovers, "result": result})
            return
        task.token = None  # what is left to do is done even where the run was cancelled
        try:
            task.execute(**arguments)
        except errors.GlanceFlowsError as failure:
            self._run.leftovers.of(task.name, action).add(f"{task.name} could not be done", failure)

    def _provided(self) -> dict[str, Any]:
        """Return what the tasks had found out; of those that are undone the engine tells nothing any more."""
        facts: dict[str, Any] = {}
        for name, task in tasks_of(self._flow):
            result = self._result(name)
            if result is not None:
                facts |= {fact: result if index is None else result[index] for fact, index in task.save_as.items()}
        return facts

    def _result(self, name: str) -> Any:
        found = [atom.results for atom in self._book.detail if atom.name == name] if self._book is not None else []
        return found[0] if found else None

    def _before_now(self, before: dict[str, Any], result: Any) -> dict[str, Any]:
        """Return what there was before the run, with what others have added since: that is not the run's to undo."""
        own = result.get("location") if isinstance(result, dict) else None
        if before["status"] == states.ACTIVE:
            own = None  # ids are used again: what an image in use has by now is another run's copy
        places = self._services.db.locations.of(self._run.image_id)
        added = [place.store for place in places if place.status == states.ACTIVE and place.id != own]
        return {**before, "stores": [*before["stores"], *added]}
