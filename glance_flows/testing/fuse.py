"""Failing a flow at a chosen place."""

from taskflow import flow as taskflow_flow
from taskflow.patterns import linear_flow

from glance_flows import errors
from glance_flows.flow import Flow, series
from glance_flows.task import Task


class Fuse(Task):
    """Blows: fails the flow when it is reached."""

    def execute(self) -> None:
        """Fail."""
        raise errors.TaskFailed(f"blown after {self.qualifier}")


def fused(flow: Flow, after: str) -> Flow:
    """Return a copy of a flow with a fuse right after the task of that name."""
    copy = type(flow)(flow.name, retry=flow.retry)
    for part in flow:
        if isinstance(part, taskflow_flow.Flow):
            copy.add(fused(part, after))
        elif part.name != after:
            copy.add(part)
        elif isinstance(flow, linear_flow.Flow):
            copy.add(part, Fuse(after))
        else:
            copy.add(series(f"fused-{after}", part, Fuse(after)))
    return copy
