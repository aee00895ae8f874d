"""Runs that outlive the command: ``--no-wait`` in a process of their own, ``--post`` on whatever host takes them."""

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from glance_flows import errors
from glance_flows.cli import base, columns

if TYPE_CHECKING:
    from glance_flows.cli.context import Context
    from glance_flows.flow import FlowSpec
    from glance_flows.runner import Runner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--no-wait`` and ``--post``, which exclude each other."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--no-wait", action="store_true", help="print the id of the run and leave it to a process of its own"
    )
    add_post(where)


def add_post(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """Add ``--post``."""
    parser.add_argument(
        "--post", action="store_true", help="print the id of the run and leave it to whichever host runs a conductor"
    )


def post(context: "Context", runner: "Runner", spec: "FlowSpec") -> base.Fields:
    """Post a run for the conductors, and return what to print.

    :raises ConfigurationError: no jobboard is configured
    :raises GlanceFlowsError: the request is refused
    """
    posted = runner.post(spec, identity=context.identity(runner.services.conf))
    return columns.record({"id": posted.record.image_id, "run": posted.id, "state": posted.record.state})


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
