"""The order in which the jobs of any board are to be done."""

from typing import Any

from taskflow.jobs import base

_RANK = {priority: place for place, priority in enumerate(base.JobPriority)}


def place(job: Any) -> tuple[int, int]:
    """Return what jobs are sorted by: a high priority before a low one, and within one the first posted first."""
    return _RANK[job.priority], job.sequence
