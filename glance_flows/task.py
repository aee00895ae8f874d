"""The base of every task: small, revertable, safe to run twice; and the cancel token that siblings share.

taskflow calls ``execute`` with the facts and services that its parameters name. What a task returns is a fact and must
be JSON; services (``db``, ``stores``, ``staging`` …) are injected for one run and never stored (F2). This base class
keeps both promises for its subclasses: results are checked, foreign exceptions become :class:`errors.TaskFailed` with
a redacted message, and ``revert`` never raises (F6).
"""

import functools
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from taskflow import task as taskflow_task
from taskflow.types import failure

from glance_flows import errors

LOG = logging.getLogger(__name__)


class CancelToken:
    """Stops a run: set once, with the reason, by whoever wants it to stop; polled by tasks between chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason: errors.GlanceFlowsError | None = None
        self._lock = threading.Lock()

    def set(self, reason: errors.GlanceFlowsError) -> None:
        """Ask the run to stop; the first reason stays."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
        self._event.set()

    @property
    def reason(self) -> errors.GlanceFlowsError | None:
        """Why the run is to stop, or None."""
        return self._reason

    def check(self) -> None:
        """Raise :class:`errors.Cancelled` if the run is to stop."""
        if self._event.is_set():
            raise errors.Cancelled(f"stopped: {self._reason}")

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

    def __init__(self, task: str = "", action: str = "revert", items: list[Leftover] | None = None) -> None:
        self._task, self._action = task, action
        self._items: list[Leftover] = [] if items is None else items

    def of(self, task: str, action: str) -> "Leftovers":
        """Return the same record in the name of a task that is executing (``execute``) or undoing (``revert``)."""
        return Leftovers(task, action, self._items)

    def add(self, what: str, cause: BaseException | None = None) -> None:
        """Record one thing that is left, and why."""
        text = errors.redact(f"{what}: {cause}" if cause else what)
        LOG.error("Left behind: %s", text)
        self._items.append(Leftover(self._task, self._action, text))

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


def _guard_execute(execute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(execute)
    def guarded(self: Task, *args: Any, **kwargs: Any) -> Any:
        if "leftovers" in kwargs:
            kwargs["leftovers"] = kwargs["leftovers"].of(self.name, "execute")
        try:
            result = execute(self, *args, **kwargs)
        except errors.GlanceFlowsError:
            raise
        except Exception as cause:
            LOG.exception("Task %s failed", self.name)
            raise errors.TaskFailed(f"{self.name} failed: {type(cause).__name__}: {cause}") from cause
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
            revert(self, **wanted)
        except Exception as cause:
            LOG.exception("Task %s could not be undone", self.name)
            kwargs["leftovers"].add(f"{self.name} could not be undone", cause)

    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return guarded
