"""A run: one execution of a flow, as its owner holds it."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

from glance_flows import errors
from glance_flows.flow import FlowSpec
from glance_flows.persistence.records import FAILURE, RUNNING, SUCCESS, SUSPENDED
from glance_flows.progress import PartProgress, ProgressBoard
from glance_flows.task import CancelToken, Leftovers


class Run:
    """The handle of a run.

    :param spec: what runs, every choice made
    :param run_id: its id, which is the id of the Glance task too where there is one
    """

    def __init__(self, spec: FlowSpec, run_id: str | None = None) -> None:
        self.id = run_id or str(uuid.uuid4())
        self.spec = spec
        self.state = RUNNING
        self.board = ProgressBoard()
        self.token = CancelToken()
        self.leftovers = Leftovers()
        self.suspended = threading.Event()
        #: Whether another run had the image while this one was dead: it is not to go on, only to clear up.
        self.overtaken = False
        self._done = threading.Event()
        self._result: Any = None
        self._failure: BaseException | None = None

    @property
    def image_id(self) -> str:
        """The image this run works on; empty for a run over many."""
        return str(self.spec.arguments.get("image_id", ""))

    @property
    def suspendable(self) -> bool:
        """Whether the run can be suspended: it outlives its process."""
        return self.spec.factory.persisted

    @property
    def error(self) -> BaseException | None:
        """Why the run failed; None while it runs and when it succeeded."""
        return self._failure

    def progress(self) -> Iterator[tuple[PartProgress, ...]]:
        """Yield a snapshot of the parts, staging and stores, whenever there is news, until the run is over (C26)."""
        return self.board.watch()

    def cancel(self, reason: str = "the run was cancelled.") -> None:
        """Ask the run to stop and undo what it did; returns at once."""
        self.token.set(errors.Cancelled(reason))

    def suspend(self) -> None:
        """Ask the run to stop after the tasks in hand, so that it can be resumed; returns at once."""
        self.suspended.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over and everything it had to undo is undone.

        :param timeout: seconds to wait; None waits for ever
        :return: whether it is over
        """
        return self._done.wait(timeout)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the run and return what it produced.

        :param timeout: seconds to wait; None waits for ever
        :raises TimeoutError: it is still running
        :raises GlanceFlowsError: what failed, after everything was put back
        """
        if not self.wait(timeout):
            raise TimeoutError(f"run {self.id} is still running after {timeout:g} seconds")
        if self._failure is not None:
            raise self._failure
        return self._result

    def end(self, result: Any = None, failure: BaseException | None = None) -> None:
        """Note the outcome and wake up whoever waits; called once, by the runner."""
        self._result, self._failure = result, failure
        if isinstance(failure, errors.Suspended | errors.StateLost):
            self.state = SUSPENDED
        else:
            self.state = SUCCESS if failure is None else FAILURE
        self.board.close()
        self._done.set()
