"""Keeping the jobboard what the list of runs says: a window on the runs that wait, each on it once (F5)."""

import logging
import time
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
#: However long a look took: one whose host stood still is not to keep all the others from theirs.
_LONGEST_TURN_SECONDS = 30.0


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
        self._seconds = _TURN_SECONDS
        self._lease = timedelta(seconds=own.lease_seconds)

    def turn(self) -> None:
        """Reconcile, if it is this conductor's turn.

        :raises BoardUnavailable, DatabaseError: one of the two cannot be used now
        """
        if self._mine():
            began = time.monotonic()
            posted = self.reconcile()
            # With a long list of runs a look takes its time: the database is to have nine tenths of its own for others.
            taken = time.monotonic() - began
            self._seconds = min(max(_TURN_SECONDS, 10 * taken), _LONGEST_TURN_SECONDS)
            if posted:
                LOG.info("Runs that waited for a conductor and are on the board now: %d", posted)

    def reconcile(self) -> int:
        """Post what is missing, as far as there is room, and tell how many runs that were."""
        alive = self._persistence.conductors.alive(self._lease)
        there = self._board.names()
        unclaimed = self._unclaimed()
        wanted = list(self._waiting(alive))
        missing = [posting for posting in wanted if posting.run_id not in there]
        # What is claimed does not count, or as many conductors as the window is wide would find nothing to do.
        lacking = len(missing) + len(unclaimed) - self._window
        if lacking > 0:
            names = {posting.run_id for posting in wanted}
            lacking -= self._cleared([job for job in reversed(unclaimed) if job.name not in names][:lacking])
        posted = missing[: max(0, len(missing) - max(lacking, 0))]
        for posting in posted:
            self._board.post(posting.run_id, posting.details, posting.priority)
        return len(posted)

    def _unclaimed(self) -> list[Any]:
        """Return the runs that nobody has claimed, having taken those off the board that are over, or on no list."""
        # Whatever else is on the board is not for us to judge.
        jobs = [job for job in self._board.waiting() if "run" in (job.details or ())]
        known = self._persistence.postings.open_ones({job.name for job in jobs})
        self._cleared([job for job in jobs if job.name not in known])
        return [job for job in jobs if job.name in known]

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

    def _cleared(self, spare: list[Any]) -> int:
        """Make room on the board: take jobs off that others go before, or that nobody can do now."""
        for job in spare:
            self._board.remove(job, self._name)
        return len(spare)

    def _doable(self, details: Mapping[str, Any], alive: list[ConductorRecord]) -> bool:
        """Tell whether a conductor is alive that could do a job.

        Whether another one sees what is staged on a host that is gone is not known here; it finds out at its own turn.
        """
        needs = Needs.from_json(details.get("needs") or {"stores": (), "sources": ()})
        return _placeable(needs, alive, self._staging.path(str(details.get("image", ""))).is_file)

    def _mine(self) -> bool:
        """Tell whether this is this conductor's turn: told by the board, or else each on the list has its own in turn.

        :raises DatabaseError: it cannot be asked; whoever is cut off from it takes no turn that others could use
        """
        alive = self._persistence.conductors.alive(self._lease)
        if self._board.takes_turns:
            # A turn ends before the next look is due: whoever is alone would miss every other one.
            return self._board.turn("reconcile", 0.75 * self._seconds)
        # Not always the first one: it may be cut off from the board, and show itself in the database all the same.
        return not alive or alive[int(time.time() // _TURN_SECONDS) % len(alive)].name == self._name


def _placeable(needs: Needs, alive: list[ConductorRecord], staged: Callable[[], bool] = lambda: False) -> bool:
    return any(unmet(needs, each.host, each.stores, each.methods, staged=staged) is None for each in alive)
