"""taskflow's jobboard on etcd: every claim has a lease there, and the board is read when it is asked for (F5)."""

import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult

import etcd3gw
from oslo_serialization import jsonutils
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs import base
from taskflow.jobs.backends import impl_etcd

from glance_flows.board.order import place

LOG = logging.getLogger(__name__)
#: What goes wrong with the server, beside what taskflow and the operating system tell.
FAILURES = (etcd3gw.exceptions.Etcd3Exception,)
#: Which of these say that the server cannot be reached, whatever it is asked.
_AWAY = (etcd3gw.exceptions.ConnectionFailedError, etcd3gw.exceptions.ConnectionTimeoutError)
_PORT = 2379
_TIMEOUT = 5.0


class EtcdBoard(impl_etcd.EtcdJobBoard):
    """The board behind :class:`glance_flows.board.JobBoard` where its URL names etcd.

    :param url: of the server, taken apart
    :param name: of the board
    :param lease: seconds after which a claim that is not renewed ends
    """

    def __init__(self, url: SplitResult, name: str, lease: float) -> None:
        conf = {"host": url.hostname, "port": url.port or _PORT, "timeout": _TIMEOUT, "path": name, "ttl": int(lease)}
        super().__init__(name, conf)

    def connect(self) -> None:
        """Make the client. taskflow's watch of the board is left out: it would keep the process from ending."""
        self._client = etcd3gw.Etcd3Client(host=self._conf["host"], port=self._conf["port"], timeout=_TIMEOUT)
        self._client.status()

    def names(self) -> set[str]:
        """Return the names of all the jobs."""
        return {job.name for job, _ in self._listed()}

    def waiting(self) -> list[Any]:
        """Return the jobs without an owner, the oldest first within a priority."""
        return sorted((job for job, claimed in self._listed() if not claimed), key=place)

    def renew(self, jobs: Iterable[Any], who: str) -> None:
        """Renew the claims of jobs; one that is gone is made again where the job is still there.

        What goes wrong with one is told, and keeps none of the others from being renewed.
        """
        for job in jobs:
            try:
                self._renew_one(job, who)
            except (taskflow_exceptions.UnclaimableJob, taskflow_exceptions.NotFound):
                continue
            except (*_AWAY, OSError):
                raise  # it would be the same with the others, and each would take its time
            except Exception as failure:
                LOG.warning("The claim of job %s could not be renewed: %r", job.name, failure)

    def _renew_one(self, job: Any, who: str) -> None:
        if self.find_owner(job) == who and job.extend_expiry(None):
            return
        job._lease = None
        # taskflow asks for the lease of a claim that is gone, too, and fails; so it is asked for its owner first.
        if self.find_owner(job) is None:
            self.claim(job, who)

    def _listed(self) -> list[tuple[Any, bool]]:
        prefix = self._create_path(self._root_path, self.JOB_PREFIX)
        found = {metadata["key"].decode(): data for data, metadata in self._client.get_prefix(prefix)}
        keys = [key.removesuffix(self.DATA_POSTFIX) for key in found if key.endswith(self.DATA_POSTFIX)]
        return [(self._job(key, found[key + self.DATA_POSTFIX]), key + self.LOCK_POSTFIX in found) for key in keys]

    def _job(self, key: str, raw: bytes) -> Any:
        posting = jsonutils.loads(raw)
        return impl_etcd.EtcdJob(
            self,
            posting["name"],
            self._client,
            key,
            uuid=posting["uuid"],
            details=posting["details"],
            sequence=posting["sequence"],
            priority=base.JobPriority.convert(posting["priority"]),
        )
