"""A jobboard in memory, for tests of what is built on one."""

from types import SimpleNamespace
from typing import Any

from taskflow import exceptions as taskflow_exceptions

from glance_flows import errors

_RANK = {"high": 0, "normal": 1, "low": 2}


class MemoryBoard:
    """The jobs and who has claimed them; ``away`` makes it a server that cannot be reached."""

    takes_turns = True

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.owners: dict[str, str] = {}
        self.posted: list[str] = []
        self.renewed: list[list[str]] = []
        self.away = False
        self.my_turn = True

    def post(self, name: str, details: Any, priority: str = "normal") -> None:
        self._reached()
        self.posted.append(name)
        self.jobs.setdefault(name, SimpleNamespace(name=name, details=details, priority=priority))

    def count(self) -> int:
        self._reached()
        return len(self.jobs)

    def names(self) -> set[str]:
        self._reached()
        return set(self.jobs)

    def waiting(self) -> list[Any]:
        self._reached()
        free = [job for name, job in self.jobs.items() if name not in self.owners]
        return sorted(free, key=lambda job: _RANK[job.priority])

    def claim(self, job: Any, who: str) -> None:
        self._reached()
        if job.name in self.owners or job.name not in self.jobs:
            raise taskflow_exceptions.UnclaimableJob(job.name)
        self.owners[job.name] = who

    def let_go(self, job: Any, who: str, *, done: bool) -> None:
        self._reached()
        if self.owners.pop(job.name, None) != who:
            raise errors.BoardUnavailable("no such claim")
        if done:
            del self.jobs[job.name]

    def remove(self, job: Any, who: str) -> bool:
        self._reached()
        return job.name not in self.owners and self.jobs.pop(job.name, None) is not None

    def renew(self, held: list[Any], who: str) -> None:
        self._reached()
        self.renewed.append([job.name for job in held])

    def turn(self, what: str, seconds: float) -> bool:
        self._reached()
        return self.my_turn

    def close(self) -> None:
        """Nothing is open."""

    def _reached(self) -> None:
        if self.away:
            raise errors.BoardUnavailable("the jobboard is away")
