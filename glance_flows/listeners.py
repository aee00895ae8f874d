"""The pulse of running flows: leases renewed, progress told, images that went away noticed (C15, C25, C26)."""

import logging
import threading
import time

from glance_flows import errors
from glance_flows.db import Database
from glance_flows.run import Run

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0


class Pulse:
    """One thread for all the runs of a process: a query or two each second, however many chunks and runs there are.

    :param db: the database with the locks and tasks of the runs
    :param lease: seconds after which a run without a sign of life is dead
    :param interval: seconds between two progress messages of a run
    """

    def __init__(self, db: Database, lease: float, interval: float) -> None:
        self._db = db
        self._lease = lease
        self._interval = min(interval, lease / 3)
        self._runs: dict[str, Run] = {}
        self._locked: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._work = threading.Event()
        self._told: dict[str, str] = {}
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def add(self, run: Run) -> None:
        """Watch over a run until it is over."""
        with self._lock:
            self._runs[run.id] = run
        self._work.set()

    def remove(self, run: Run) -> None:
        """Stop watching over a run."""
        with self._lock:
            self._runs.pop(run.id, None)
            self._told.pop(run.id, None)
            self._locked.discard(run.id)

    def close(self) -> None:
        """Stop."""
        with self._lock:
            self._stop.set()
            self._work.set()
        self._thread.join()

    def _beat(self) -> None:
        while self._work.wait() and not self._stop.wait(_LOOK_SECONDS):
            with self._lock:
                runs = dict(self._runs)
                # Not once it is to stop: the wait for work would never end.
                if not runs and not self._stop.is_set():
                    self._work.clear()
            if not runs:
                continue
            try:
                self._look(runs)
                self._renew(runs)
            except errors.DatabaseError as failure:
                LOG.warning("The leases of %d runs could not be renewed: %s", len(runs), failure)

    def _look(self, runs: dict[str, Run]) -> None:
        """Stop runs whose image was deleted or whose lock another run took over."""
        signs = self._db.claims.look({run.image_id for run in runs.values()})
        for run in runs.values():
            sign = signs.get(run.image_id)
            if sign is None or sign.gone:
                run.token.set(errors.Gone(f"image {run.image_id} was deleted."))
            elif sign.holder == run.id:
                self._locked.add(run.id)
            elif run.id in self._locked:
                run.token.set(errors.LockLost(f"image {run.image_id} was taken over by run {sign.holder}."))

    def _renew(self, runs: dict[str, Run]) -> None:
        if time.monotonic() - self._renewed < self._interval:
            return
        said: dict[str, str | None] = {}
        for run in runs.values():
            message = run.board.message()
            said[run.id] = message if message != self._told.get(run.id) else None
            self._told[run.id] = message
        self._db.claims.renew(said)
        self._renewed = time.monotonic()
