"""The pulse of running flows: leases renewed, progress told, requests to stop heard (C15, C25 to C27)."""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.lease import Lease
from glance_flows.run import Run
from glance_flows.services import Services

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_TIDY_SECONDS = 3600.0


@dataclass
class _Watched:
    """A run, and what has been told of it."""

    run: Run
    locked: bool = False
    message: str = ""
    parts: Any = None


class Pulse:
    """One thread for all the runs of a process: a few statements each second, however many chunks and runs there are.

    :param services: the database with the locks and tasks of the runs, and the list of runs
    :param holder: the name of this process in that list
    """

    def __init__(self, services: Services, holder: str) -> None:
        own = services.conf.glance_flows
        self._db = services.db
        self._lease = own.lease_seconds
        self._retention = timedelta(days=own.run_retention)
        self._records = services.persistence.records
        self._holder = holder
        self._interval = min(own.progress_interval, own.lease_seconds / 3)
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._beating = threading.Lock()
        self._stop = threading.Event()
        self._work = threading.Event()
        self._renewed = self._tidied = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def add(self, run: Run, asked: float) -> None:
        """Watch over a run until it is over; from here on it knows whether it may go on.

        :param asked: when the statement was sent that made the run this process's, in monotonic time
        """
        run.token.lease = Lease(self._lease, lambda: self._still_ours(run), asked)
        with self._lock:
            self._watched[run.id] = _Watched(run)
        self._work.set()

    def remove(self, run: Run) -> None:
        """Stop watching over a run; when this returns nothing more is written for it."""
        with self._beating, self._lock:
            self._watched.pop(run.id, None)

    def close(self) -> None:
        """Stop."""
        with self._lock:
            self._stop.set()
            self._work.set()
        self._thread.join()

    def _beat(self) -> None:
        while self._work.wait() and not self._stop.wait(_LOOK_SECONDS):
            with self._beating:
                with self._lock:
                    watched = list(self._watched.values())
                    # Not once it is to stop: the wait for work would never end.
                    if not watched and not self._stop.is_set():
                        self._work.clear()
                if watched:
                    for step in (self._look, self._listen, self._renew, self._tidy):
                        self._guarded(step, watched)

    @staticmethod
    def _guarded(step: Any, watched: list[_Watched]) -> None:
        try:
            step(watched)
        except errors.DatabaseError as failure:
            LOG.warning("The leases of %d runs could not be renewed: %s", len(watched), failure)

    def _look(self, watched: list[_Watched]) -> None:
        """Stop imports whose image was deleted or whose lock another run took over."""
        imports = [each for each in watched if "request" in each.run.spec.facts()]
        signs = self._db.claims.look({each.run.image_id for each in imports}) if imports else {}
        for each in imports:
            run, sign = each.run, signs.get(each.run.image_id)
            if sign is None or sign.gone:
                run.token.set(errors.Gone(f"image {run.image_id} was deleted."))
            elif sign.holder == run.id:
                each.locked = True
            elif each.locked:
                run.token.set(errors.LockLost(f"image {run.image_id} was taken over by {_named(sign.holder)}."))

    def _listen(self, watched: list[_Watched]) -> None:
        """Renew the leases of persisted runs and hear whether they are to be cancelled."""
        news: dict[str, Any] = {}
        for each in watched:
            parts = [part.to_json() for part in each.run.board.parts]
            news[each.run.id] = parts if parts != each.parts else None
            each.parts = parts
        sent = time.monotonic()
        asked = self._records.renew(self._holder, news)
        for each in watched:
            run = each.run
            if run.id not in asked:
                self._lose(run, f"run {run.id} was taken over by another process.")
                continue
            if run.token.lease is not None:
                run.token.lease.renewed(sent)
            if reason := asked[run.id]:
                run.cancel(reason)

    def _still_ours(self, run: Run) -> bool:
        """Ask both databases whether a run that could not renew its lease in time may still go on."""
        if run.id not in self._records.renew(self._holder, {run.id: None}):
            return False
        if "request" in run.spec.facts():
            self._db.claims.renew({run.id: None})
            sign = self._db.claims.look([run.image_id]).get(run.image_id)
            if sign is not None and not sign.gone and sign.holder not in (run.id, None):
                run.token.set(errors.LockLost(f"image {run.image_id} was taken over by {_named(sign.holder)}."))
        return True

    @staticmethod
    def _lose(run: Run, why: str) -> None:
        if run.token.lease is not None:
            run.token.lease.lose(why)
        run.token.set(errors.LockLost(why))

    def _tidy(self, watched: list[_Watched]) -> None:
        """Forget old runs now and then; where they are many, some at each look, since leases are to be renewed."""
        now = time.monotonic()
        if now - self._tidied > _TIDY_SECONDS:
            self._tidied = now
            if self._records.expire(timeutils.utcnow() - self._retention):
                self._tidied = now - _TIDY_SECONDS

    def _renew(self, watched: list[_Watched]) -> None:
        if time.monotonic() - self._renewed < self._interval:
            return
        said: dict[str, str | None] = {}
        for each in watched:
            message = each.run.board.message()
            said[each.run.id] = message if message != each.message else None
            each.message = message
        self._db.claims.renew(said)
        self._renewed = time.monotonic()


def _named(holder: str | None) -> str:
    return f"run {holder}" if holder else "somebody else"
