"""Describing work: a :class:`FlowSpec` is a frozen JSON value, a flow is what it builds.

A function decorated with :func:`flow` composes taskflow flows and does nothing else: no database, no store, no file.
Calling it returns the description; :meth:`FlowSpec.build` calls the function itself, here or on another machine, today
or when a killed run is resumed (F1).
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, Self, TypeAlias

from taskflow import atom
from taskflow import flow as taskflow_flow
from taskflow.patterns import linear_flow, unordered_flow

from glance_flows import errors

P = ParamSpec("P")
Flow: TypeAlias = taskflow_flow.Flow
Part: TypeAlias = taskflow_flow.Flow | atom.Atom

_REGISTRY: dict[str, "FlowFactory[Any]"] = {}


def series(name: str, *parts: Part) -> Flow:
    """Return a flow whose parts run one after the other; undone from the last to the first."""
    return linear_flow.Flow(name).add(*parts)


def parallel(name: str, *parts: Part) -> Flow:
    """Return a flow whose parts run at the same time, as far as there are threads."""
    return unordered_flow.Flow(name).add(*parts)


def lanes(name: str, width: int, parts: list[Part]) -> Flow:
    """Return a flow that runs ``parts`` side by side, at most ``width`` of them at once (C22)."""
    rows = [parts[start::width] for start in range(min(width, len(parts)))]
    return parallel(name, *(series(f"{name}-lane-{number}", *row) for number, row in enumerate(rows, 1)))


def tasks_of(flow: Flow) -> list[tuple[str, atom.Atom]]:
    """Return the tasks of a flow and of the flows in it, by name, in the order they were added."""
    found: list[tuple[str, atom.Atom]] = []
    for part in flow:
        found += tasks_of(part) if isinstance(part, taskflow_flow.Flow) else [(part.name, part)]
    return found


@dataclass(frozen=True, eq=False)
class FlowSpec:
    """What to do, as a value: the name of a flow and its arguments, JSON through and through.

    Two are equal when their JSON is, and can be told apart in a set. The arguments cannot be changed, at any depth:
    objects are read-only mappings and lists are tuples; whoever is to have his own gets plain ones (:meth:`plain`).

    :raises BadRequest: an argument is not JSON
    """

    flow: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            plain = json.loads(json.dumps(_thawed(self.arguments)))
        except (TypeError, ValueError) as failure:
            raise errors.BadRequest(f"an argument of the flow {self.flow} is not JSON: {failure}") from failure
        object.__setattr__(self, "arguments", _frozen(plain))

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, FlowSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.flow, self.plain())

    @property
    def factory(self) -> "FlowFactory[Any]":
        """The registered flow that this describes.

        :raises BadRequest: there is no flow of that name
        """
        try:
            return _REGISTRY[self.flow]
        except KeyError:
            known = ", ".join(sorted(_REGISTRY))
            raise errors.BadRequest(f"there is no flow {self.flow!r}; there are: {known}.") from None

    def build(self) -> Flow:
        """Compose the flow; does no I/O."""
        return self.factory.compose(**self.plain())

    def facts(self) -> dict[str, Any]:
        """Return what the tasks of the flow are told: its arguments, or the admitted request in their place."""
        facts = {**self.factory.defaults(), **self.plain()}
        resolved = facts.pop("resolved", None)
        return facts if resolved is None else {"image_id": facts["image_id"], "request": resolved}

    def plain(self) -> dict[str, Any]:
        """Return the arguments as dictionaries and lists of the caller's own."""
        thawed: dict[str, Any] = _thawed(self.arguments)
        return thawed

    def replace(self, **arguments: Any) -> Self:
        """Return the same flow with some arguments replaced."""
        return type(self)(self.flow, {**self.arguments, **arguments})

    def to_json(self) -> str:
        """Return a JSON document that :meth:`from_json` reads."""
        return json.dumps({"flow": self.flow, "arguments": self.plain()}, sort_keys=True)

    @classmethod
    def from_json(cls, document: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        plain = json.loads(document)
        return cls(plain["flow"], plain["arguments"])


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _thawed(item) for name, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value


class FlowFactory(Generic[P]):
    """A registered composition; calling it describes the flow, :attr:`compose` builds it."""

    def __init__(self, compose: Callable[P, Flow], name: str, event: str | None, persisted: bool) -> None:
        self.compose = compose
        self.name = name
        self.event = event
        self.persisted = persisted
        self.admit: Callable[..., FlowSpec] | None = None
        update_wrapper(self, compose)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FlowSpec:
        bound = inspect.signature(self.compose).bind(*args, **kwargs)
        return FlowSpec(self.name, bound.arguments)

    def defaults(self) -> dict[str, Any]:
        """Return the arguments that have a default, with it."""
        parameters = inspect.signature(self.compose).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}

    def admission(self, check: Callable[..., FlowSpec]) -> Callable[..., FlowSpec]:
        """Register ``check(spec, services, identity)``, which a runner calls at the door.

        It refuses what must not start, and returns the specification with every choice made (which stores, say), so
        that the flow is built alike wherever and whenever it runs.
        """
        self.admit = check
        return check


def flow(event: str | None = None, *, persisted: bool = True) -> Callable[[Callable[P, Flow]], FlowFactory[P]]:
    """Register a function that composes a flow, under the name of the function with dashes for underscores.

    :param event: the first words of the notifications sent when a run of this flow starts and ends; None for none
    :param persisted: whether runs outlive their process; not needed where the database itself says what is left to do
    """

    def register(compose: Callable[P, Flow]) -> FlowFactory[P]:
        name = compose.__name__.replace("_", "-")
        known = _REGISTRY.get(name)
        if known is not None and known.compose.__module__ != compose.__module__:
            places = f"{known.compose.__module__} and {compose.__module__}"
            raise errors.ConfigurationError(f"two flows are named {name}: in {places}.")
        _REGISTRY[name] = factory = FlowFactory(compose, name, event, persisted)
        return factory

    return register
