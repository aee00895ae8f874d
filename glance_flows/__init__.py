"""The long operations of an image service as flows: revertable, parallel, undone cleanly when they fail.

Describe what is to happen with the functions of :mod:`glance_flows.flows`, and let a :class:`Runner` do it.
"""

from glance_flows.flow import FlowSpec, flow, parallel, series
from glance_flows.identity import Identity
from glance_flows.methods import ImportMethod
from glance_flows.request import ImportRequest
from glance_flows.run import Run
from glance_flows.runner import Runner
from glance_flows.task import Task

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
__version__ = "0.1.0"
