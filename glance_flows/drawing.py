"""A flow as a picture: each task with its state, in the language of Graphviz or of Mermaid (F4)."""

import itertools
from collections.abc import Iterator, Mapping

from taskflow import flow as taskflow_flow
from taskflow.patterns import linear_flow

from glance_flows.flow import Flow, Part

WAITING = "pending"
_COLOURS = {
    "success": "#b7e4c7",
    "running": "#ffe8a3",
    "reverting": "#ffd6a5",
    "reverted": "#d9d9d9",
    "failure": "#f4acb7",
    "revert_failure": "#f4acb7",
}
_PLAIN = "#ffffff"


def dot(flow: Flow, states: Mapping[str, str]) -> str:
    """Return the flow in Graphviz's language.

    :param states: of the tasks by their names, in lower case; a task that has none is waiting
    """
    lines = [f'digraph "{flow.name}" {{', "  rankdir=TB;", '  node [shape=box, style="rounded,filled"];']
    for name in _names(flow):
        state = states.get(name, WAITING)
        lines.append(f'  "{name}" [label="{name}\\n{state}", fillcolor="{_COLOURS.get(state, _PLAIN)}"];')
    lines += [f'  "{start}" -> "{end}";' for start, end in edges(flow)]
    return "\n".join([*lines, "}", ""])


def mermaid(flow: Flow, states: Mapping[str, str]) -> str:
    """Return the flow as a flowchart of Mermaid, which a README shows as a picture; parameters as for :func:`dot`."""
    numbers = {name: f"t{number}" for number, name in enumerate(_names(flow))}
    lines = ["flowchart TD"]
    for name, number in numbers.items():
        state = states.get(name, WAITING)
        lines += [f'  {number}["{name}<br/>{state}"]']
        lines += [f"  style {number} fill:{_COLOURS[state]},color:#000000"] if state in _COLOURS else []
    lines += [f"  {numbers[start]} --> {numbers[end]}" for start, end in edges(flow)]
    return "\n".join([*lines, ""])


def edges(flow: Flow) -> list[tuple[str, str]]:
    """Return which task comes right before which."""
    return list(dict.fromkeys(_within(flow)))


def _within(part: Part) -> Iterator[tuple[str, str]]:
    if not isinstance(part, taskflow_flow.Flow):
        return
    parts = list(part)
    for each in parts:
        yield from _within(each)
    if isinstance(part, linear_flow.Flow):
        for before, after in itertools.pairwise(parts):
            yield from ((start, end) for start in _ends(before, -1) for end in _ends(after, 0))


def _ends(part: Part, end: int) -> list[str]:
    """Return the tasks that a part begins with (0) or ends with (-1)."""
    if not isinstance(part, taskflow_flow.Flow):
        return [part.name]
    parts = list(part)
    if isinstance(part, linear_flow.Flow):
        return _ends(parts[end], end) if parts else []
    return [name for each in parts for name in _ends(each, end)]


def _names(part: Part) -> list[str]:
    if not isinstance(part, taskflow_flow.Flow):
        return [part.name]
    return [name for each in part for name in _names(each)]
