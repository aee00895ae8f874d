"""A run that was left to the conductors, as whoever posted it holds it."""

import time

from glance_flows import errors
from glance_flows.persistence.records import OPEN, SUCCESS, Record, Records

_LOOK_SECONDS = 0.5


class Posted:
    """The handle of a posted run; it can be made anew from the id, on any host that shares the flows' state.

    :param run_id: the run
    :param records: the list of runs
    """

    def __init__(self, run_id: str, records: Records) -> None:
        self.id = run_id
        self._records = records

    @property
    def record(self) -> Record:
        """The run as it is written down now: its state, its progress, who works on it."""
        return self._records.get(self.id)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over and tell whether it is.

        :param timeout: seconds to wait at most; None waits for ever
        :raises DatabaseError: the list of runs cannot be read
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.record.state in OPEN:
            left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, end - time.monotonic())
            if left <= 0:
                return False
            time.sleep(left)
        return True

    def result(self, timeout: float | None = None) -> Record:
        """Wait for the run and return how it ended.

        :raises TimeoutError: it is still open
        :raises TaskFailed: it failed, and what it did was undone; the message is its reason
        """
        if not self.wait(timeout):
            raise TimeoutError(f"run {self.id} is still {self.record.state} after {timeout:g} seconds")
        record = self.record
        if record.state != SUCCESS:
            raise errors.TaskFailed(record.error)
        return record

    def cancel(self, reason: str = "the run was cancelled.") -> bool:
        """Ask whoever works on the run, or will, to stop and undo it; tell whether it was still open."""
        return self._records.ask_to_cancel(self.id, reason)
