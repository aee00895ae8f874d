"""Taking up runs that nobody works on any more: only those, and only where they can go on (F3, C19)."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.flow import Flow, FlowSpec, tasks_of
from glance_flows.persistence.records import OPEN, SUSPENDED, Record
from glance_flows.run import Run
from glance_flows.services import Services

LOG = logging.getLogger(__name__)
_TASKFLOWS_OWN = "_TaskFlow"


class Resumption:
    """Finds runs to take up and takes them.

    A live run is known by its lease, which it renews every second or so; never by a process id.

    :param services: of this host
    :param holder: the name of this process in the list of runs
    :param build: builds the flow of a specification
    """

    def __init__(self, services: Services, holder: str, build: Callable[[FlowSpec], Flow]) -> None:
        self._build = build
        self._services = services
        self._holder = holder
        self._records = services.persistence.records
        services.persistence.ready()

    def candidates(self, run_id: str | None) -> Iterator[Record]:
        """Yield the runs that may have to be taken up, a page at a time.

        :raises NotFound: there is no run of this id
        """
        if run_id is not None:
            yield self._records.get(run_id)
            return
        after = ""
        while page := self._records.page(after=after, open_only=True):
            yield from page
            after = page[-1].id

    def take(self, record: Record, *, strict: bool) -> Run | None:
        """Take a run over, or return None where that cannot be.

        :param strict: raise the reason instead
        :raises Conflict: see :meth:`why_not`, or somebody was faster
        """
        why = self.why_not(record)
        if why is None and not self._records.take_over(record, self._holder):
            why = f"run {record.id} was just taken up by somebody else."
        if why is not None:
            if strict:
                raise errors.Conflict(why)
            LOG.info("Not resumed: %s", why)
            return None
        run = Run(record.spec, record.id)
        if record.cancel_reason:
            run.cancel(record.cancel_reason)
        return self._with_lock(record, run, strict)

    def why_not(self, record: Record) -> str | None:
        """Tell why a run cannot be taken up here; None if it can."""
        if record.finished:
            return f"run {record.id} is over: {record.state}."
        lease = timedelta(seconds=self._services.conf.glance_flows.lease_seconds)
        age = timeutils.utcnow() - record.renewed_at
        if record.state in OPEN and record.state != SUSPENDED and age < lease:
            left = max(1, int((lease - age).total_seconds()))
            return f"run {record.id} is alive at {record.holder}, or died less than {left} seconds short of its lease."
        request = record.spec.arguments.get("resolved") or {}
        unknown = self._unknown_tasks(record)
        if unknown:
            return (
                f"run {record.id} was begun by version {record.version}, whose tasks this version does not know:"
                f" {', '.join(unknown)}; resume it with that version."
            )
        missing = [name for name in request.get("stores", ()) if name not in self._services.stores.names]
        if missing:
            return f"run {record.id} needs the store {missing[0]}, which this host does not have."
        return None

    def _unknown_tasks(self, record: Record) -> list[str]:
        """Return the tasks of a run that its flow, as this version builds it, does not have."""
        detail = self._services.persistence.find(record.id)
        known = {name for name, _ in tasks_of(self._build(record.spec))}
        begun = [] if detail is None else [atom.name for atom in detail]
        return sorted(name for name in begun if name not in known and not name.startswith(_TASKFLOWS_OWN))

    def _with_lock(self, record: Record, run: Run, strict: bool) -> Run | None:
        """Make sure that an import holds its image again before it goes on."""
        if "resolved" not in record.spec.arguments:
            return run
        try:
            if record.leftovers and record.state not in OPEN:
                self._services.db.claims.hold(run.id, run.image_id)
            elif self._had_lock(record):
                run.overtaken = not self._services.db.claims.take_again(run.id, run.image_id)
        except errors.GlanceFlowsError:
            self._records.end(record.id, self._holder, record.state, record.error, record.leftovers)
            if strict:
                raise
            LOG.info("Run %s waits for its image", record.id)
            return None
        return run

    def _had_lock(self, record: Record) -> bool:
        detail = self._services.persistence.find(record.id)
        states = {} if detail is None else {atom.name: atom.state for atom in detail}
        return states.get("lock") == "SUCCESS"
