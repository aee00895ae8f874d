"""Keeping the jobboard what the list of runs says: a window on the runs that wait, each on it once (F5)."""

import logging
from datetime import timedelta

from glance_flows.persistence import Needs
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
        if len(there) >= self._window:
            there -= self._cleared()
        posted = 0
        for page in self._persistence.postings.waiting(self._lease):
            for posting in page:
                if len(there) >= self._window:
                    return posted
                if posting.run_id not in there and self._placeable(posting.needs):
                    self._board.post(posting.run_id, posting.details, posting.priority)
                    there.add(posting.run_id)
                    posted += 1
        return posted

    def _cleared(self) -> set[str]:
        """Make room on a full board: take off what no conductor can do now."""
        stuck = [job for job in self._board.waiting() if not self._placeable(Needs.from_json(job.details["needs"]))]
        for job in stuck:
            self._board.remove(job, self._name)
        return {job.name for job in stuck}

    def _placeable(self, needs: Needs) -> bool:
        alive = self._persistence.conductors.alive(self._lease)
        return any(unmet(needs, each.host, each.stores, each.methods, staged=lambda: True) is None for each in alive)
