"""``--no-wait``: a run in a process of its own, which outlives the command and its terminal."""

import subprocess
import sys
from typing import TYPE_CHECKING

from glance_flows import errors
from glance_flows.cli import base, columns

if TYPE_CHECKING:
    from glance_flows.cli.context import Context
    from glance_flows.flow import FlowSpec
    from glance_flows.runner import Runner


def begin(context: "Context", runner: "Runner", spec: "FlowSpec") -> base.Fields:
    """Write a run down, start a process that takes it up, and return what to print.

    The run is on the list before the process starts, so it cannot get lost: whatever becomes of the process, ``run
    resume`` goes on with it.

    :raises GlanceFlowsError: the request is refused
    """
    run = runner.defer(spec, identity=context.identity(runner.services.conf))
    files = [word for path in context.config_files for word in ("--config-file", path)]
    files += [word for path in context.config_directories for word in ("--config-dir", path)]
    words = [sys.executable, "-m", "glance_flows.cli.main", "--quiet", *files, "run", "resume", run.id]
    nowhere = subprocess.DEVNULL
    try:
        subprocess.Popen(words, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    except OSError as failure:
        raise errors.TaskFailed(
            f"no process could be started for run {run.id}: {failure.strerror}; begin it with run resume {run.id}."
        ) from failure
    return columns.record({"id": run.image_id, "run": run.id, "state": "begun"})
