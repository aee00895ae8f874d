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
        if self._mine():
            posted = self.reconcile()
            if posted:
                LOG.info("%d runs that waited for a conductor were put on the board", posted)

    def reconcile(self) -> int:
        """Post what is missing, as far as there is room, and tell how many runs that were."""
        there = self._board.names()
        # Whatever else is on the board is not for us to judge.
        unclaimed = [job for job in self._board.waiting() if "run" in (job.details or ())]
        alive = self._persistence.conductors.alive(self._lease)
        needs = [each for each in self._persistence.postings.needs(self._lease) if _placeable(each, alive)]
        wanted = self._persistence.postings.waiting(self._lease, needs, self._window)
        missing = [posting for posting in wanted if posting.run_id not in there]
        # What is claimed does not count, or as many conductors as the window is wide would find nothing to do.
        lacking = len(missing) + len(unclaimed) - self._window
        if lacking > 0:
            names = {posting.run_id for posting in wanted}
            lacking -= self._cleared([job for job in reversed(unclaimed) if job.name not in names][:lacking])
        posted = missing[: len(missing) - max(lacking, 0)]
        for posting in posted:
            self._board.post(posting.run_id, posting.details, posting.priority)
        return len(posted)

    def _cleared(self, spare: list[Any]) -> int:
        """Make room on the board: take jobs off that others go before, or that nobody can do now."""
        for job in spare:
            self._board.remove(job, self._name)
        return len(spare)

    def _mine(self) -> bool:
        """Tell whether this is this conductor's turn: told by the board, or else it is the first one's on the list."""
        if self._board.takes_turns:
            return self._board.turn("reconcile", _TURN_SECONDS)
        alive = self._persistence.conductors.alive(self._lease)
        return not alive or alive[0].name == self._name


def _placeable(needs: Needs, alive: list[ConductorRecord]) -> bool:
    # Whether a host sees what another one has staged, only it can tell.
    return any(unmet(needs, each.host, each.stores, each.methods, staged=lambda: True) is None for each in alive)
