"""Keeping the jobboard what the list of runs says: a window on the runs that wait, each on it once (F5)."""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.persistence.postings import Posting
from glance_flows.placement import unmet
from glance_flows.services import Services

LOG = logging.getLogger(__name__)
#: Seconds between two looks; one conductor of all has each of them.
_TURN_SECONDS = 2.0


class Reconciler:
    """Posts the runs that wait and are not on the board, whatever became of the board (F5).

    A run that no conductor can take, for want of a store, say, is not posted: it would take the place of others. It is
    looked at each time, so it is posted as soon as there is a conductor for it.

    :param services: the list of runs, and the board
    :param name: of the conductor that this is done for
    """

    def __init__(self, services: Services, name: str) -> None:
        own = services.conf.glance_flows
        self._persistence = services.persistence
        self._board = services.board
        self._staging = services.staging
        self._name = name
        self._window = own.jobboard_window
        self._lease = timedelta(seconds=own.lease_seconds)

    def turn(self) -> None:
        """Reconcile, if it is this conductor's turn.

        :raises BoardUnavailable, DatabaseError: one of the two cannot be used now
        """
        # A turn ends before the next look is due: whoever is alone would miss every other one.
        if self._board.turn("reconcile", 0.75 * _TURN_SECONDS):
            posted = self.reconcile()
            if posted:
                LOG.info("%d runs that waited for a conductor were put on the board", posted)

    def reconcile(self) -> int:
        """Post what is missing, as far as there is room, and tell how many runs that were."""
        alive = self._persistence.conductors.alive(self._lease)
        there = self._board.names()
        there -= self._cleared(alive if len(there) >= self._window else None)
        posted = 0
        # What is on the board already is among the oldest, too.
        for posting in self._waiting(alive):
            if len(there) < self._window and posting.run_id not in there:
                self._board.post(posting.run_id, posting.details, posting.priority)
                there.add(posting.run_id)
                posted += 1
        return posted

    def _waiting(self, alive: list[ConductorRecord]) -> Iterator[Posting]:
        """Yield the oldest of the runs that could be done now."""
        postings = self._persistence.postings
        needs = postings.needs(self._lease)
        plain = [each for each in needs if _placeable(each, alive)]
        yield from postings.waiting(self._lease, plain, self._window)
        elsewhere = [each for each in needs if each.staged and each not in plain]
        for posting in postings.waiting(self._lease, elsewhere, self._window):
            if self._doable(posting.details, alive):
                yield posting

    def _cleared(self, alive: list[ConductorRecord] | None) -> set[str]:
        """Take off the board what is there for nothing: runs that are over, or on no list; tell the names.

        :param alive: to make room the conductors there are: what none of them can do now is taken off, too
        """
        waiting = self._board.waiting()
        known = self._persistence.postings.open_ones({job.name for job in waiting})
        stuck = [
            job
            for job in waiting
            if job.name not in known or (alive is not None and not self._doable(job.details, alive))
        ]
        for job in stuck:
            self._board.remove(job, self._name)
        return {job.name for job in stuck}

    def _doable(self, details: Mapping[str, Any], alive: list[ConductorRecord]) -> bool:
        """Tell whether a conductor is alive that could do a job.

        Whether another one sees what is staged on a host that is gone is not known here; it finds out at its own turn.
        """
        needs = Needs.from_json(details.get("needs") or {"stores": (), "sources": ()})
        return _placeable(needs, alive, self._staging.path(str(details.get("image", ""))).is_file)


def _placeable(needs: Needs, alive: list[ConductorRecord], staged: Callable[[], bool] = lambda: False) -> bool:
    return any(unmet(needs, each.host, each.stores, each.methods, staged=staged) is None for each in alive)
