"""A cloud's jobboard as the rest of the library sees it."""

import contextlib
import importlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from oslo_config import cfg
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs import backends
from taskflow.jobs import base as taskflow_jobs

from glance_flows import errors

_LEASED = "glance-flows-redis"
_REDIS = ("redis", "rediss", "unix")
#: taskflow's other boards: our module of each, its class, and what must be installed for it.
_OTHERS = {"zookeeper": ("zookeeper", "ZookeeperBoard", "kazoo"), "etcd": ("etcd", "EtcdBoard", "etcd3gw")}
_GONE = (taskflow_exceptions.UnclaimableJob, taskflow_exceptions.NotFound)
_FAILURES: tuple[type[Exception], ...] = (
    taskflow_exceptions.JobFailure,
    taskflow_exceptions.NotFound,
    taskflow_exceptions.IncompatibleVersion,
    OSError,
)


class JobBoard:
    """The board of one cloud.

    :param url: ``redis://…``, ``rediss://…`` or ``unix://…``; ``zookeeper://…`` or ``etcd://…``
    :param name: tells boards on one server apart
    :param lease: seconds after which a claim that is not renewed ends
    :raises ConfigurationError: the URL cannot be used, or what it needs is not installed
    """

    def __init__(self, url: str, name: str, lease: float) -> None:
        self._shown = _shown(url)
        self._connecting = threading.Lock()
        try:
            self.jobs, self._failures = _opened(url, name, lease)
        except (taskflow_exceptions.TaskFlowException, ValueError, TypeError) as failure:
            raise errors.ConfigurationError(f"[glance_flows] jobboard_url: {self._shown}: {failure}") from failure
        #: Whether :meth:`turn` chooses one of all who ask; where it does not, they agree by the list of conductors.
        self.takes_turns = hasattr(self.jobs, "turn")

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

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Give taskflow's board, connected, and raise its errors as ours.

        :raises BoardUnavailable: it is not there
        :raises taskflow.exceptions.UnclaimableJob: a job is claimed that somebody has
        """
        try:
            # Connecting begins with closing: two threads at once would close what the other has just opened.
            with self._connecting:
                if not self.jobs.connected:
                    self.jobs.connect()
            yield self.jobs
        except taskflow_exceptions.UnclaimableJob:
            raise
        except self._failures as failure:
            cause = failure.__cause__ or failure
            told = str(cause) or type(cause).__name__
            raise errors.BoardUnavailable(f"the jobboard at {self._shown} cannot be used: {told}") from failure

    def count(self) -> int:
        """Return how many jobs there are, claimed ones too."""
        with self.connected() as jobs:
            return int(jobs.job_count) if self.takes_turns else len(jobs.names())

    def names(self) -> set[str]:
        """Return the names of all the jobs: of a run its id."""
        with self.connected() as jobs:
            return set(jobs.names())

    def post(self, name: str, details: Mapping[str, Any], priority: str = "normal") -> None:
        """Post a job; on Redis one that is on the board already stays there once.

        :param name: of a run its id; no two jobs share one
        :param details: JSON, for the conductor that takes it
        :param priority: ``high``, ``normal`` or ``low``
        """
        with self.connected() as jobs:
            jobs.post(name, details=dict(details), priority=taskflow_jobs.JobPriority.convert(priority.upper()))

    def waiting(self) -> list[Any]:
        """Return the jobs that nobody has claimed, in the order in which they are to be done."""
        with self.connected() as jobs:
            return list(jobs.waiting())

    def claim(self, job: Any, who: str) -> None:
        """Claim a job, until the lease of the claim is over.

        :raises taskflow.exceptions.UnclaimableJob: somebody has it, or it is gone
        """
        with self.connected() as jobs:
            try:
                jobs.claim(job, who)
            except taskflow_exceptions.NotFound as gone:
                raise taskflow_exceptions.UnclaimableJob(f"job {job.name} is gone") from gone

    def let_go(self, job: Any, who: str, *, done: bool) -> None:
        """Take a job that one has claimed off the board, or leave it to others.

        :raises BoardUnavailable: the claim is lost, too
        """
        with self.connected() as jobs:
            (jobs.consume if done else jobs.abandon)(job, who)

    def remove(self, job: Any, who: str) -> bool:
        """Take a job off the board, unless somebody has claimed it; tell whether it was this that took it off."""
        with self.connected() as jobs, contextlib.suppress(*_GONE):
            jobs.claim(job, who)
            jobs.consume(job, who)
            return True
        return False

    def renew(self, held: Iterable[Any], who: str) -> None:
        """Renew the claims of jobs; one that the board lost is claimed again, if the job is still there."""
        with self.connected() as jobs:
            jobs.renew(list(held), who)

    def turn(self, what: str, seconds: float) -> bool:
        """Tell whether it is this process's turn to do what one of all is to do, every so many seconds."""
        with self.connected() as jobs:
            return bool(jobs.turn(what, seconds)) if self.takes_turns else True

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(*self._failures):
            self.jobs.close()


def _shown(url: str) -> str:
    """Return a URL as it may be told, whatever its user has put in: without user, password, and what follows a ?."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    rest, _, query = rest.partition("?")
    if "@" in query:
        return f"{scheme}{mark}***"  # the ? may be the password's
    _, at, where = rest.rpartition("@")
    return f"{scheme}{mark}{'***' if at else ''}{at}{where}"


def _parsed(url: str) -> SplitResult:
    """Take a URL apart.

    :raises ValueError: it is none; what the failure itself says may quote a password, and is not told
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        after = parts.query + parts.fragment + ("" if parts.scheme == "unix" else parts.path)
        # ZooKeeper's has many hosts, and a port with each.
        if "@" not in after and (parts.scheme == "zookeeper" or parts.port != 0):
            return parts
    raise ValueError("it is no URL: the port must be a number, and / ? # @ and the like in a password percent-encoded")


def _opened(url: str, name: str, lease: float) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the board of a URL, not connected yet, and what can go wrong with it."""
    parts = _parsed(url)
    if parts.scheme in _REDIS:
        if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
            raise ValueError(f"the database is a number, as in {parts.scheme}://HOST:6379/0")
        conf = {"board": _LEASED, "url": url, "namespace": name, "claim_ttl": lease}
        try:
            return backends.fetch(name, conf), _FAILURES
        except ImportError as missing:
            raise ValueError(
                f"the package redis is needed for it; pip install glance-flows[redis] ({missing})"
            ) from missing
    if parts.scheme not in _OTHERS:
        raise ValueError(f"it must begin with one of {', '.join(f'{scheme}://' for scheme in (*_REDIS, *_OTHERS))}")
    if "@" in parts.netloc or not parts.hostname:
        raise ValueError(f"the board on {parts.scheme} takes no user and password, but the name of a host")
    module, kind, package = _OTHERS[parts.scheme]
    try:
        found = importlib.import_module(f"glance_flows.board.{module}")
    except ImportError as missing:
        raise ValueError(f"the package {package} is needed for it ({missing})") from missing
    return getattr(found, kind)(parts, name, lease), (*_FAILURES, *found.FAILURES)
