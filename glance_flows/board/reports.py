"""What conductors report to whoever posted jobs: a list beside the board, for each of them."""

import json
from collections.abc import Mapping
from typing import Any

from glance_flows import errors
from glance_flows.board.jobs import JobBoard

#: Seconds that reports wait for who has gone away meanwhile.
_KEPT_SECONDS = 24 * 3600.0


class Reports:
    """The reports to one poster.

    A report and the end of its job are one step, so neither is there without the other. A server that is restarted may
    lose both, and a connection that breaks may have a report sent twice: each should carry an id.

    :param board: of the jobs
    :param name: tells posters apart
    :raises ConfigurationError: the board is none on Redis, and has no place for reports
    """

    def __init__(self, board: JobBoard, name: str) -> None:
        if not hasattr(board.jobs, "report"):
            raise errors.ConfigurationError(
                "[glance_flows] jobboard_url: pages of a scrub can be posted on a board on Redis only: no other one has"
                " a place where conductors could report what they removed."
            )
        self._board = board
        self._name = name

    def add(self, job: Any, who: str, report: Mapping[str, Any], *, done: bool) -> None:
        """Report on a job that this conductor has claimed, and take it off the board.

        :param who: the conductor
        :param report: JSON
        :param done: otherwise the job is given back, for other conductors to go on with
        :raises BoardUnavailable: neither was done, as far as is known
        """
        with self._board.connected() as jobs:
            jobs.report(job, who, self._name, json.dumps(report), _KEPT_SECONDS, done=done)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """Return the oldest report and forget it; None if there is none for so many seconds.

        :raises BoardUnavailable: the board cannot be used
        """
        with self._board.connected() as jobs:
            text = jobs.reported(self._name, seconds)
        return None if text is None else dict(json.loads(text))
