"""taskflow's jobboard on Redis, with claims that are leases, first in first out, and one job to a name (F5)."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_utils import timeutils
from redis import maint_notifications
from taskflow import exceptions as taskflow_exceptions
from taskflow.jobs import base
from taskflow.jobs.backends import impl_redis
from taskflow.utils import redis_utils

from glance_flows.board.order import place

LOG = logging.getLogger(__name__)
#: Seconds that the server may take to answer; what waits for it longer would lose its lease unawares.
_TIMEOUT = 5.0

#: Renews a claim; one that is gone, as after a restart of the server, is made again where the job is still there.
_RENEW = """
local owner = redis.call("get", KEYS[1])
if owner == ARGV[1] or (not owner and redis.call("hexists", KEYS[2], ARGV[2]) == 1) then
    redis.call("set", KEYS[1], ARGV[1], "px", ARGV[3])
    return 1
end
return 0
"""

#: The names and the contents of the jobs without an owner, in no order.
_WAITING = """
local found = {}
for _, name in ipairs(redis.call("hkeys", KEYS[1])) do
    if redis.call("exists", ARGV[1] .. name .. ARGV[2]) == 0 then
        found[#found + 1] = name
        found[#found + 1] = redis.call("hget", KEYS[1], name)
    end
end
return found
"""

#: Adds a report to a list, and takes its job off the board, or gives it back where it is not done; all in one step. The
#: report counts whatever became of the job: the server may have been emptied, or somebody else have claimed it by now.
_REPORT = """
redis.call("rpush", KEYS[4], ARGV[3])
redis.call("pexpire", KEYS[4], ARGV[4])
local owner = redis.call("get", KEYS[1])
if owner and owner ~= ARGV[1] then
    return 0
end
redis.call("del", KEYS[1], KEYS[3])
if ARGV[5] == "done" then
    redis.call("hdel", KEYS[2], ARGV[2])
end
return 1
"""


class LeasedRedisJobBoard(impl_redis.RedisJobBoard):
    """The board behind :class:`glance_flows.board.JobBoard` where its URL names Redis.

    :param conf: ``url`` of the server, ``namespace`` of the keys, ``claim_ttl`` in seconds
    """

    SCRIPT_TEMPLATES = {
        **impl_redis.RedisJobBoard.SCRIPT_TEMPLATES,
        "renew": _RENEW,
        "waiting": _WAITING,
        "report": _REPORT,
    }

    def __init__(self, name: str, conf: dict[str, Any], client: Any = None, persistence: Any = None) -> None:
        self.claim_ttl = float(conf["claim_ttl"])
        #: What the last look found, by its text: most of it is there at the next look, too, and costs time to read.
        self._read: dict[bytes, Any] = {}
        super().__init__(name, conf, client=client, persistence=persistence)

    @classmethod
    def _make_client(cls, conf: dict[str, Any]) -> Any:
        client = redis_utils.RedisClient.from_url(
            conf["url"],
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            maint_notifications_config=maint_notifications.MaintNotificationsConfig(enabled=False),
        )
        try:
            client.connection_pool.make_connection()  # which connects later, and looks at the options now
        except TypeError as unknown:
            raise ValueError(f"it has an option that there is not ({unknown})") from unknown
        return client

    def post(self, name: str, book: Any = None, details: Any = None, priority: Any = base.JobPriority.NORMAL) -> Any:
        """Post a job under its name, which no other job on the board has; a job that is there already stays as it is.

        :param details: JSON
        """
        wanted = base.JobPriority.convert(priority)
        posting = base.format_posting(
            name, name, created_on=timeutils.utcnow(), book=book, details=details, priority=wanted
        )
        with impl_redis._translate_failures():
            posting["sequence"] = self._client.incr(self.sequence_key)
            self._client.hsetnx(self.listings_key, name.encode(), self._dumps(posting))
        return self._job(name.encode(), posting)

    def claim(self, job: Any, who: str, expiry: float | None = None) -> None:
        """Claim a job for as long as a lease lasts.

        :raises taskflow.exceptions.UnclaimableJob: somebody has it
        """
        super().claim(job, who, expiry=expiry or self.claim_ttl)

    def renew(self, jobs: Iterable[Any], who: str) -> list[bool]:
        """Renew the claims of jobs and tell of each whether it still is the owner's."""
        script = self._get_script("renew")
        milliseconds = int(self.claim_ttl * 1000)
        with impl_redis._translate_failures(), self._client.pipeline(transaction=False) as pipe:
            for job in jobs:
                keys = [job.owner_key, self.listings_key]
                script(keys=keys, args=[self._encode_owner(who), job.key, milliseconds], client=pipe)
            return [bool(held) for held in pipe.execute()]

    def waiting(self) -> list[Any]:
        """Return the jobs without an owner, the oldest first within a priority."""
        with impl_redis._translate_failures():
            found = self._get_script("waiting")(
                keys=[self.listings_key], args=[self.join(b""), self._encode_owner(self.OWNED_POSTFIX)]
            )
        jobs = dict(self._jobs(zip(found[::2], found[1::2], strict=True)))
        self._read = jobs
        return sorted(jobs.values(), key=place)

    def names(self) -> set[str]:
        """Return the names of all the jobs."""
        with impl_redis._translate_failures():
            return {key.decode() for key in self._client.hkeys(self.listings_key)}

    def find_owner(self, job: Any) -> str | None:
        """Return who has claimed a job, or None."""
        with impl_redis._translate_failures():
            raw = self._client.get(job.owner_key)
        return None if raw is None else str(self._decode_owner(raw))

    def turn(self, what: str, seconds: float) -> bool:
        """Tell whether nobody else has had this turn within so many seconds."""
        with impl_redis._translate_failures():
            return bool(self._client.set(self.join(b"turn", what), 1, nx=True, px=int(seconds * 1000)))

    def report(self, job: Any, who: str, where: str, text: str, kept: float, *, done: bool) -> None:
        """Add a report on a job to a list, and take the job off the board; or give it back, where it is not done.

        :param where: the name of the list
        :param kept: seconds after its last report at which the list goes
        """
        keys = [job.owner_key, self.listings_key, job.last_modified_key, self._reports(where)]
        outcome = "done" if done else "open"
        args = [self._encode_owner(who), job.key, text.encode(), int(kept * 1000), outcome]
        with impl_redis._translate_failures():
            self._get_script("report")(keys=keys, args=args)

    def reported(self, where: str, seconds: float) -> str | None:
        """Take the oldest report off a list, waiting for one at most so many seconds."""
        key = self._reports(where)
        with impl_redis._translate_failures():
            found = self._client.lpop(key) if seconds <= 0 else (self._client.blpop([key], seconds) or (key, None))[1]
        return None if found is None else bytes(found).decode()

    def _reports(self, where: str) -> Any:
        return self.join(b"reports", where)

    def _fetch_jobs(self) -> list[Any]:
        with impl_redis._translate_failures():
            found = self._client.hgetall(self.listings_key)
        return sorted((job for _, job in self._jobs(found.items())), key=place)

    def _jobs(self, found: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, Any]]:
        known = self._read
        for key, raw in found:
            try:
                yield raw, known.get(raw) or self._job(key, self._loads(raw))
            except (taskflow_exceptions.JobFailure, KeyError, TypeError, ValueError) as failure:
                LOG.warning("What is on the jobboard as %r is no job, and left alone: %r", key, failure)

    def _job(self, key: bytes, posting: dict[str, Any]) -> Any:
        return impl_redis.RedisJob(
            self,
            posting["name"],
            posting["sequence"],
            key,
            uuid=posting["uuid"],
            details=posting["details"],
            created_on=posting["created_on"],
            book_data=posting.get("book"),
            backend=self._persistence,
            priority=base.JobPriority.convert(posting["priority"]),
        )
