"""The long operations of an image service as flows: revertable, parallel, undone cleanly when they fail.

Describe what is to happen with the functions of :mod:`glance_flows.flows`, and let a :class:`Runner` do it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from glance_flows.flow import FlowSpec, flow, parallel, series
from glance_flows.identity import Identity
from glance_flows.methods import ImportMethod
from glance_flows.request import ImportRequest
from glance_flows.task import Task
from glance_flows.version import VERSION

if TYPE_CHECKING:
    from glance_flows.run import Run
    from glance_flows.runner import Runner

__all__ = [
    "FlowSpec",
    "Identity",
    "ImportMethod",
    "ImportRequest",
    "Run",
    "Runner",
    "Task",
    "flow",
    "parallel",
    "series",
]
__version__ = VERSION

#: Found when they are first asked for: they bring the database and the stores, which a plugin, or the help of a
#: command, does without.
_LATER = {"Run": "glance_flows.run", "Runner": "glance_flows.runner"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
