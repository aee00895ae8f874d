"""Killing runs for real: a child process is killed with SIGKILL at a chosen point, and the run is taken up again.

The points are found, not listed: a first child runs undisturbed and tells every point it passed. They are the moments
before and after each task does and undoes its work, before and after each write to the database in between, and the
middle of the bytes of each part.
"""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import opts
from glance_flows.flow import Flow, FlowSpec, tasks_of
from glance_flows.persistence import records
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.task import Task
from glance_flows.testing.fuse import fused

_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["glance_flows.testing.kill", "glance_flows.flows"])


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a child is to do, and when it is to be killed.

    :param conf: path of its configuration file
    :param spec: the request as JSON; empty to resume whatever is there
    :param at: the number of the point at which it is killed; None lets it live
    :param fuse: name of the task after which the flow fails; empty for none
    """

    conf: str
    spec: str
    at: int | None
    fuse: str = ""


class _Points:
    """Counts the points that a run passes, and kills the process at one of them."""

    def __init__(self, at: int | None) -> None:
        self._at = at
        self.passed: list[str] = []

    def passes(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


class _VictimRunner(Runner):
    """Runs flows whose every step is a point."""

    points: _Points
    fuse = ""

    def build(self, spec: FlowSpec) -> Flow:
        flow = spec.build()
        for _, task in tasks_of(flow):
            _watch(task, self.points)
        return fused(flow, self.fuse) if self.fuse else flow


def attempt(work: Attempt) -> list[str] | None:
    """Do something in a child process and return the points it passed; None if it was killed."""
    receiver, sender = _CHILDREN.Pipe(duplex=False)
    child = _CHILDREN.Process(target=_victim, args=(work, sender), daemon=True)
    child.start()
    sender.close()
    child.join(120)
    if child.exitcode is None:
        child.kill()
        raise AssertionError(f"the child did not end: {work}")
    if child.exitcode == -signal.SIGKILL:
        return None
    if child.exitcode != 0:
        raise AssertionError(f"the child ended with {child.exitcode}: {work}")
    passed: list[str] = json.loads(receiver.recv_bytes())
    return passed


def attempt_for(work: Attempt, seconds: float | None) -> float | None:
    """Do something in a child process, kill it after so many seconds, and return how long the work took it.

    :param seconds: counted from when the child is ready to begin; None lets it live
    :return: None if it was killed
    """
    receiver, sender = _CHILDREN.Pipe(duplex=False)
    child = _CHILDREN.Process(target=_victim, args=(work, sender, True), daemon=True)
    child.start()
    sender.close()
    receiver.recv_bytes()
    began = time.monotonic()
    child.join(120 if seconds is None else seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return time.monotonic() - began


def expire_leases(services: Services) -> None:
    """Make every open run as old as if its process had been dead for a day."""
    long_ago = timeutils.utcnow().replace(year=2000)
    update = sa.text("UPDATE runs SET renewed_at = :then WHERE state = :running")
    with services.persistence.records.engine.begin() as connection:
        connection.execute(update, {"then": long_ago, "running": records.RUNNING})


def _victim(work: Attempt, sender: Connection, ready: bool = False) -> None:
    """What the child does; it says when it is ready to begin, where somebody waits for that."""
    services = Services.from_conf(opts.load([Path(work.conf)]))
    points = _Points(work.at)
    runner = _VictimRunner(services)
    runner.points, runner.fuse = points, work.fuse
    _watch_writes(services, points)
    if ready:
        sender.send_bytes(b"ready")
    runs = [runner.submit(FlowSpec.from_json(work.spec))] if work.spec else runner.resume()
    for run in runs:
        _watch_bytes(run.board, points)
        run.wait(100)
    sender.send_bytes(json.dumps(points.passed).encode())
    sender.close()
    runner.close()


def _watch(task: Task, points: _Points) -> None:
    for action in ("execute", "revert"):
        setattr(task, action, _watched(getattr(task, action), f"{task.name} {action}", points))


def _watched(method: Callable[..., Any], name: str, points: _Points) -> Callable[..., Any]:
    def call(**kwargs: Any) -> Any:
        points.passes(f"before {name}")
        result = method(**kwargs)
        points.passes(f"after {name}")
        return result

    return call


def _watch_writes(services: Services, points: _Points) -> None:
    write = services.db.engine.write

    def watched(change: Callable[..., Any]) -> Any:
        points.passes("before a write")
        result = write(change)
        points.passes("after a write")
        return result

    services.db.engine.write = watched  # type: ignore[method-assign]


def _watch_bytes(board: Any, points: _Points) -> None:
    advance = board.advance
    seen: set[str] = set()

    def watched(part: str, count: int) -> None:
        advance(part, count)
        if part not in seen:
            seen.add(part)
            points.passes(f"in the bytes of {part}")

    board.advance = watched


def unfinished(services: Services) -> list[str]:
    """Return what is wrong with the list of runs after everything was taken up: runs that are not over."""
    return [f"run {each.id} is {each.state}" for each in services.persistence.records.page(open_only=True)]
