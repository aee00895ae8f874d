"""A cloud's jobboard as the rest of the library sees it."""

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from oslo_config import cfg
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs import backends
from taskflow.jobs import base as taskflow_jobs

from glance_flows import errors

LOG = logging.getLogger(__name__)
_LEASED = "glance-flows-redis"
_REDIS = ("redis", "rediss", "unix")
_FAILURES = (taskflow_exceptions.JobFailure, taskflow_exceptions.NotFound, OSError)


class JobBoard:
    """The board of one cloud.

    :param url: ``redis://…``, ``rediss://…`` or ``unix://…``; ``zookeeper://…`` and the like for taskflow's own
    :param name: tells boards on one server apart
    :param lease: seconds after which a claim that is not renewed ends
    """

    def __init__(self, url: str, name: str, lease: float) -> None:
        self._shown = errors.redact(url)
        scheme = url.partition(":")[0]
        leased = scheme in _REDIS
        conf: Any = {"board": _LEASED, "url": url, "claim_ttl": lease} if leased else url
        try:
            self.jobs: Any = backends.fetch(name, {**conf, "namespace": name} if leased else conf)
        except (taskflow_exceptions.TaskFlowException, ValueError, TypeError, ImportError) as failure:
            raise errors.ConfigurationError(f"[glance_flows] jobboard_url: {self._shown}: {failure}") from failure
        self._leased = leased
        self._connecting = threading.Lock()

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """Return the board of ``[glance_flows] jobboard_url``.

        :raises ConfigurationError: there is none
        """
        own = conf.glance_flows
        if not own.jobboard_url:
            raise errors.ConfigurationError(
                "[glance_flows] jobboard_url is not set: it says where runs are posted, as in redis://HOST:6379."
            )
        return cls(own.jobboard_url, own.jobboard_name, float(own.lease_seconds))

    def connected(self) -> Any:
        """Return taskflow's board, connected.

        :raises BoardUnavailable: it is not there
        """
        # Connecting begins with closing: two threads at once would close what the other has just opened.
        with self._connecting:
            if not self.jobs.connected:
                with self.told():
                    self.jobs.connect()
        return self.jobs

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Raise the board's errors as ours."""
        try:
            yield
        except _FAILURES as failure:
            cause = failure.__cause__ or failure
            raise errors.BoardUnavailable(f"the jobboard at {self._shown} cannot be used: {cause}") from failure

    def count(self) -> int:
        """Return how many jobs there are, claimed ones too."""
        jobs = self.connected()
        with self.told():
            return int(jobs.job_count)

    def names(self) -> set[str]:
        """Return the names of all the jobs: of a run its id."""
        jobs = self.connected()
        with self.told():
            return jobs.names() if self._leased else {job.name for job in jobs.iterjobs(ensure_fresh=True)}

    def post(self, name: str, details: Mapping[str, Any], priority: str = "normal") -> None:
        """Post a job; one that is on the board already stays there once.

        :param name: of a run its id; no two jobs share one
        :param details: JSON, for the conductor that takes it
        :param priority: ``high``, ``normal`` or ``low``
        """
        jobs = self.connected()
        with self.told():
            jobs.post(name, details=dict(details), priority=taskflow_jobs.JobPriority.convert(priority.upper()))

    def waiting(self) -> list[Any]:
        """Return the jobs that nobody has claimed, in the order in which they are to be done."""
        jobs = self.connected()
        with self.told():
            return jobs.waiting() if self._leased else list(jobs.iterjobs(only_unclaimed=True, ensure_fresh=True))

    def remove(self, job: Any, who: str) -> bool:
        """Take a job off the board, unless somebody has claimed it; tell whether it was this that took it off."""
        jobs = self.connected()
        with self.told(), contextlib.suppress(taskflow_exceptions.UnclaimableJob, taskflow_exceptions.NotFound):
            jobs.claim(job, who)
            jobs.consume(job, who)
            return True
        return False

    def renew(self, held: Iterable[Any], who: str) -> None:
        """Renew the claims of jobs; one that the board lost is claimed again, if the job is still there."""
        if self._leased:
            jobs = self.connected()
            with self.told():
                jobs.renew(list(held), who)

    def turn(self, what: str, seconds: float) -> bool:
        """Tell whether it is this process's turn to do what one of all is to do, every so many seconds."""
        if not self._leased:
            return True
        jobs = self.connected()
        with self.told():
            return bool(jobs.turn(what, seconds))

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(*_FAILURES):
            self.jobs.close()
