"""The base of every task: small, revertable, safe to run twice; and the cancel token that siblings share.

taskflow calls ``execute`` with the facts and services that its parameters name. What a task returns is a fact and must
be JSON; services (``db``, ``stores``, ``staging`` …) are injected for one run and never stored (F2). This base class
keeps both promises for its subclasses: results are checked, foreign exceptions become :class:`errors.TaskFailed` with
a redacted message, and ``revert`` never raises (F6).
"""

import contextlib
import functools
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from taskflow import task as taskflow_task
from taskflow.types import failure

from glance_flows import errors
from glance_flows.lease import Lease, relying_on

LOG = logging.getLogger(__name__)


class CancelToken:
    """Stops a run: set once, with the reason, by whoever wants it to stop; polled by tasks between chunks.

    :ivar lease: tells whether the run is still this process's; None where nobody else could take it over
    """

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self._event = threading.Event()
        self._reason: errors.GlanceFlowsError | None = None
        self._stops: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def set(self, reason: errors.GlanceFlowsError) -> None:
        """Ask the run to stop; the first reason stays."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
            stops = list(self._stops)
        self._event.set()
        for stop in stops:
            stop()

    @contextlib.contextmanager
    def calling(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` when the run is to stop while the block lasts, to wake up who waits for something else.

        :param stop: called from the thread that stops the run, perhaps more than once; must not wait or fail
        """
        with self._lock:
            self._stops.append(stop)
            late = self._reason is not None
        if late:
            stop()
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    @property
    def reason(self) -> errors.GlanceFlowsError | None:
        """Why the run is to stop, or None."""
        return self._reason

    def check(self) -> None:
        """Return if the run may go on.

        :raises Cancelled: it is to stop, and to undo what it did
        :raises LockLost: somebody else works on the image now: nothing more is to be written or removed
        """
        self.sure()
        if self._event.is_set():
            if isinstance(self._reason, errors.LockLost):
                raise errors.LockLost(str(self._reason))
            raise errors.Cancelled(f"stopped: {self._reason}")

    def sure(self) -> None:
        """Return if the run is still this process's, be it to stop or not.

        :raises LockLost: it was taken over, or may have been
        """
        if self.lease is not None:
            self.lease.sure()

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` and tell whether the run is to stop."""
        return self._event.wait(seconds)


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that is left: the task that left it, whether it is to be undone or done again, and words for people."""

    task: str
    action: str
    what: str

    def __str__(self) -> str:
        return self.what


class Leftovers:
    """What a run could not undo or clean up: recorded, told and kept for a later resume, never raised (F6).

    A task gets one that speaks in its name: :meth:`of`.
    """

    def __init__(
        self,
        task: str = "",
        action: str = "revert",
        items: list[Leftover] | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._task, self._action = task, action
        self._items: list[Leftover] = [] if items is None else items
        #: Called after each addition, to write the record down at once: the process may be killed next.
        self.told = told

    def of(self, task: str, action: str) -> "Leftovers":
        """Return the same record in the name of a task that is executing (``execute``) or undoing (``revert``)."""
        return Leftovers(task, action, self._items, self.told)

    def add(self, what: str, cause: BaseException | None = None) -> None:
        """Record one thing that is left, and why."""
        text = errors.redact(f"{what}: {cause}" if cause else what)
        if text in self.items:
            return
        LOG.error("Left behind: %s", text)
        self._items.append(Leftover(self._task, self._action, text))
        self.told()

    def restore(self, records: Iterable[Mapping[str, str]]) -> None:
        """Take back what was recorded before, in front of what was added since."""
        self._items[:0] = [Leftover(item["task"], item["action"], item["what"]) for item in records]

    @property
    def items(self) -> list[str]:
        """What is left in words, in the order it was found."""
        return [str(item) for item in self._items]

    @property
    def records(self) -> list[dict[str, str]]:
        """What is left as JSON objects, for the list of runs."""
        return [asdict(item) for item in list(self._items)]


class Task(taskflow_task.Task):
    """A step of a flow.

    A subclass writes ``execute`` and, where it changes the world, ``revert`` beside it. Names are deterministic, since
    a resumed run finds its tasks by name: the class's name in lower case, then what tells two of them apart.

    :param qualifier: what tells this task from others of its class in the flow, such as the name of a store
    :param provides: the name under which the result is known to later tasks
    :param requires: facts that ``execute`` takes as keywords without naming them
    """

    #: Says that what the task did cannot be undone: such tasks come last in their flow (law 5).
    irreversible: ClassVar[bool] = False
    #: Says that ``revert`` removes what an interrupted task left, and tells that from what others put there since.
    clears_up: ClassVar[bool] = False
    #: Says that what the task staged can be had again, by a host that does not see where it lies (F5).
    stages_again: ClassVar[bool] = False
    #: Of the run, while there is one: a cancelled run begins nothing more that would have to be undone.
    token: CancelToken | None = None

    def __init__(
        self, qualifier: str | None = None, provides: str | None = None, requires: Iterable[str] | None = None
    ) -> None:
        self.qualifier = qualifier
        base = type(self).__name__.lower()
        name = f"{base}:{qualifier}" if qualifier else base
        super().__init__(name=name, provides=provides or self.default_provides, requires=requires)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "execute" in cls.__dict__:
            cls.execute = _guard_execute(cls.__dict__["execute"])
        if "revert" in cls.__dict__:
            cls.revert = _guard_revert(cls.__dict__["revert"])


def succeeded(result: Any) -> bool:
    """Tell, in ``revert``, whether the task had done its work before (its result is no failure)."""
    return result is not None and not isinstance(result, failure.Failure)


def _lease_of(task: Task) -> Lease | None:
    return None if task.token is None else task.token.lease


def _guard_execute(execute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(execute)
    def guarded(self: Task, *args: Any, **kwargs: Any) -> Any:
        if "leftovers" in kwargs:
            kwargs["leftovers"] = kwargs["leftovers"].of(self.name, "execute")
        if self.token is not None:
            (self.token.sure if self.irreversible else self.token.check)()
        try:
            with relying_on(_lease_of(self)):
                result = execute(self, *args, **kwargs)
        except errors.GlanceFlowsError:
            raise
        except Exception as cause:
            failure = errors.TaskFailed(f"{self.name} failed: {type(cause).__name__}: {cause}")
            LOG.error("%s", failure)
            LOG.debug("Where %s failed: %s", self.name, errors.trace(cause))
            raise failure from cause
        try:
            return json.loads(json.dumps(result))
        except (TypeError, ValueError) as cause:
            raise errors.TaskFailed(f"the result of {self.name} is not JSON: {cause}") from cause

    return guarded


def _guard_revert(revert: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(revert)
    parameters = list(signature.parameters.values())
    names = {parameter.name for parameter in parameters}
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    if "leftovers" not in names:
        # Asked for on behalf of every task: what cannot be undone is recorded there.
        at = len(parameters) - 1 if anything else len(parameters)
        parameters.insert(at, inspect.Parameter("leftovers", inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(revert)
    def guarded(self: Task, **kwargs: Any) -> None:
        kwargs["leftovers"] = kwargs["leftovers"].of(self.name, "revert")
        # taskflow hands over the result and the failures whether they are asked for or not.
        wanted = kwargs if anything else {name: value for name, value in kwargs.items() if name in names}
        try:
            if self.token is not None:
                self.token.sure()
        except errors.LockLost as lost:
            LOG.warning("Task %s is not undone here: %s", self.name, lost)
            return
        try:
            with relying_on(_lease_of(self)):
                revert(self, **wanted)
        except Exception as cause:
            LOG.debug("Where %s could not be undone: %s", self.name, errors.trace(cause))
            kwargs["leftovers"].add(f"{self.name} could not be undone", cause)

    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return guarded
