"""taskflow's jobboard on ZooKeeper: a claim lasts as long as the session of the process that has it (F5)."""

import contextlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qs

from kazoo import exceptions
from kazoo.handlers import threading as handlers
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs.backends import impl_zookeeper

from glance_flows.board.order import place

#: What goes wrong with the server, beside what taskflow and the operating system tell.
FAILURES = (exceptions.KazooException, handlers.KazooTimeoutError)


class ZookeeperBoard(impl_zookeeper.ZookeeperJobBoard):
    """The board behind :class:`glance_flows.board.JobBoard` where its URL names ZooKeeper.

    :param url: of the servers, taken apart; ``?timeout=`` is the session's, in seconds, and ``?check_compatible=true``
        asks for the server's version, which few servers tell without being told to
    :param name: of the board
    :param lease: of which the session takes a third, unless the URL says
    """

    def __init__(self, url: SplitResult, name: str, lease: float) -> None:
        asked = {key: values[-1] for key, values in parse_qs(url.query).items()}
        conf = {"timeout": lease / 3, "check_compatible": "false", **asked}
        super().__init__(
            name, {**conf, "hosts": url.netloc, "path": f"/glance_flows/{name}/jobs"}, emit_notifications=False
        )

    def names(self) -> set[str]:
        """Return the names of all the jobs."""
        return {job.name for job in self._fetch_jobs(ensure_fresh=True)}

    def waiting(self) -> list[Any]:
        """Return the jobs without an owner, the oldest first within a priority."""
        jobs = self._fetch_jobs(ensure_fresh=True)
        there = {f"{self.path}/{child}" for child in self._client.get_children(self.path)}
        return sorted((job for job in jobs if job.lock_path not in there), key=place)

    def renew(self, jobs: Iterable[Any], who: str) -> None:
        """Make claims that went with an earlier session again, where the jobs are still there."""
        for job in jobs:
            with contextlib.suppress(taskflow_exceptions.UnclaimableJob, taskflow_exceptions.NotFound):
                if self.find_owner(job) is None:
                    self.claim(job, who)
