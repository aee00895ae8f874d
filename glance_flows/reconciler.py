"""Keeping the jobboard what the list of runs says: a window on the runs that wait, each on it once (F5)."""

import logging
from datetime import timedelta
from typing import Any

from glance_flows.persistence import ConductorRecord, Needs
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
        self._name = name
        self._window = own.jobboard_window
        self._lease = timedelta(seconds=own.lease_seconds)

    def turn(self) -> None:
        """Reconcile, if it is this conductor's turn.

        :raises BoardUnavailable, DatabaseError: one of the two cannot be used now
        """
        if self._board.turn("reconcile", _TURN_SECONDS):
            posted = self.reconcile()
            if posted:
                LOG.info("%d runs that waited for a conductor were put on the board", posted)

    def reconcile(self) -> int:
        """Post what is missing, as far as there is room, and tell how many runs that were."""
        there = self._board.names()
        alive = self._persistence.conductors.alive(self._lease)
        if len(there) >= self._window:
            there -= self._cleared(alive)
        needs = [each for each in self._persistence.postings.needs(self._lease) if _placeable(each, alive)]
        posted = 0
        # What is on the board already is among the oldest, too.
        for posting in self._persistence.postings.waiting(self._lease, needs, self._window):
            if len(there) < self._window and posting.run_id not in there:
                self._board.post(posting.run_id, posting.details, posting.priority)
                there.add(posting.run_id)
                posted += 1
        return posted

    def _cleared(self, alive: list[ConductorRecord]) -> set[str]:
        """Make room on a full board: take off what no conductor can do now."""
        stuck = [job for job in self._board.waiting() if not _placeable(_needs(job), alive)]
        for job in stuck:
            self._board.remove(job, self._name)
        return {job.name for job in stuck}


def _needs(job: Any) -> Needs:
    return Needs.from_json(job.details.get("needs") or {"stores": (), "sources": ()})


def _placeable(needs: Needs, alive: list[ConductorRecord]) -> bool:
    # Whether a host sees what another one has staged, only it can tell.
    return any(unmet(needs, each.host, each.stores, each.methods, staged=lambda: True) is None for each in alive)
