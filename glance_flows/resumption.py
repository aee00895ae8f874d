"""Taking up runs that nobody works on any more: only those, and only where they can go on (F3, C19)."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from oslo_utils import timeutils

from glance_flows import (
    errors,
    flows,  # noqa: F401  a run names its flow, which is known once its module was read
    states,
)
from glance_flows.flow import Flow, FlowSpec, tasks_of
from glance_flows.persistence.records import OPEN, POSTED, RUNNING, Record
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
            yield from (record for record in page if record.state != POSTED)  # those are the conductors'
            after = page[-1].id

    def take(self, record: Record) -> Run:
        """Take a run over.

        :raises Conflict: see :meth:`why_not`, or somebody was faster, or another run holds the image
        """
        why = self.why_not(record)
        if why is None and not self._records.take_over(record, self._holder):
            why = f"run {record.id} was just taken up by somebody else."
        if why is not None:
            raise errors.Conflict(why)
        run = Run(record.spec, record.id)
        if record.cancel_reason:
            run.cancel(record.cancel_reason)
        return self._with_lock(record, run)

    def alive(self, record: Record) -> bool:
        """Tell whether somebody works on a run, or may still do."""
        return record.state == RUNNING and self._age(record) < self._lease

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._services.conf.glance_flows.lease_seconds)

    @staticmethod
    def _age(record: Record) -> timedelta:
        return timeutils.utcnow() - record.renewed_at

    def why_not(self, record: Record) -> str | None:
        """Tell why a run cannot be taken up here; None if it can."""
        if record.finished:
            return f"run {record.id} is over: {record.state}."
        if self.alive(record):
            left = max(1, int((self._lease - self._age(record)).total_seconds()))
            return f"run {record.id} is alive at {record.holder}, or died a moment ago: it is sure in {left} seconds."
        try:
            if record.state in OPEN and record.cancel_reason and not self._services.persistence.begun(record.id):
                return None  # there is nothing to undo
            unknown = self._unknown_tasks(record) if record.state in OPEN else None
            return unknown or self._missing_store(record) or self._not_staged(record) or self._staged_elsewhere(record)
        except (errors.ConfigurationError, errors.BadRequest) as failure:
            return f"run {record.id} cannot go on here: {failure}"

    def _unknown_tasks(self, record: Record) -> str | None:
        """Refuse a run with tasks that its flow, as this version builds it, does not have."""
        detail = self._services.persistence.find(record.id)
        known = {name for name, _ in tasks_of(self._build(record.spec))}
        begun = [] if detail is None else [atom.name for atom in detail]
        unknown = sorted(name for name in begun if name not in known and not name.startswith(_TASKFLOWS_OWN))
        if not unknown:
            return None
        return (
            f"run {record.id} was begun by version {record.version}, whose tasks this version does not know:"
            f" {', '.join(unknown)}; resume it with that version."
        )

    def _missing_store(self, record: Record) -> str | None:
        """Refuse a run that needs a store which this host does not have."""
        request = record.spec.arguments.get("resolved")
        if request is not None:
            needed = list(request.get("stores", ()))
        else:
            needed = [place.store for place in self._services.db.locations.of(record.image_id) if place.store]
        missing = [name for name in needed if name not in self._services.stores.names]
        return f"run {record.id} needs the store {missing[0]}, which this host does not have." if missing else None

    def _not_staged(self, record: Record) -> str | None:
        """Refuse a run that has not begun and needs what a user has staged, on another host."""
        request = record.spec.arguments.get("resolved")
        if request is None or request["status"] != states.UPLOADING or self._services.persistence.begun(record.id):
            return None
        if self._services.staging.path(record.image_id).exists():
            return None
        return f"run {record.id} needs what was staged for image {record.image_id}, which is not on this host."

    def _staged_elsewhere(self, record: Record) -> str | None:
        """Refuse a run whose bytes wait in the staging area of another host, and cannot be had again."""
        host = record.holder.partition(":")[0]
        detail = self._services.persistence.find(record.id)
        if host == self._services.host or detail is None or (record.state in OPEN and record.cancel_reason):
            return None
        again = {name for name, task in tasks_of(self._build(record.spec)) if getattr(task, "stages_again", False)}
        for atom in detail:
            staged = atom.results if isinstance(atom.results, dict) else {}
            there = staged.get("ours") and atom.state == "SUCCESS" and not Path(str(staged["path"])).exists()
            if there and not (record.state in OPEN and atom.name in again):
                return f"run {record.id} has its data in the staging area of {host}: resume it there."
        return None

    def _with_lock(self, record: Record, run: Run) -> Run:
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
            raise
        return run

    def _had_lock(self, record: Record) -> bool:
        detail = self._services.persistence.find(record.id)
        states = {} if detail is None else {atom.name: atom.state for atom in detail}
        return states.get("lock") == "SUCCESS"
