"""``run resume``, ``run cancel``: taking up what was left, and having it undone."""

import argparse
from typing import TYPE_CHECKING

from glance_flows import errors
from glance_flows.cli import base, columns, told

if TYPE_CHECKING:
    from glance_flows.persistence import Record
    from glance_flows.run import Run
    from glance_flows.runner import Runner

_RESUMED = ("id", "flow", "image", "state", "message")
_LOOK_SECONDS = 0.5
_CANCELLED = "it was cancelled from the command line."


class Resume(base.Lister):
    """Take up runs that were left by a dead process, or suspended, and finish undoing what could not be undone."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "run", metavar="ID", nargs="?", help="id of a run; by default every run that can be resumed"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Resume, wait, and print what became of each run; then those that were not resumed, and why."""
        rows: list[list[object]] = []

        def left(record: "Record", why: str) -> None:
            rows.append([record.id, record.spec.flow, record.image_id, "not resumed", columns.Text(why)])

        with self.context.runner() as runner:
            runs = runner.resume(parsed_args.run, told=left)
            rows[:0] = [self._finish(runner, run) for run in runs]
        return _RESUMED, rows

    def _finish(self, runner: "Runner", run: "Run") -> list[object]:
        message = ""
        try:
            self.context.follow(run, f"run {run.id}", runner)
        except errors.GlanceFlowsError as failure:
            self.status = 1
            message = str(failure)
            told.tell(failure, debug=self.context.debug)
        if run.leftovers.items:
            self.status = 1
            message = " ".join([message, "Left behind:", "; ".join(run.leftovers.items)]).strip()
        return [run.id, run.spec.flow, run.image_id, run.state, columns.Text(message)]


class Cancel(base.ShowOne):
    """Cancel a run, wherever it is, and wait until what it did is undone."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("run", metavar="ID", help="id of the run")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Ask whoever works on it, or undo it here where nobody does; print how it ended.

        :raises Conflict: it was over before it could be cancelled
        """
        with self.context.runner() as runner:
            record = self._cancelled(runner, parsed_args.run)
        if record.state == "success":
            raise errors.Conflict(f"run {record.id} was done before it could be cancelled.")
        left = [dict(item) for item in record.leftovers]
        fields = {"id": record.id, "image": record.image_id, "state": record.state, "error": record.error}
        if left:
            told.say(f"glance-flows: not all of run {record.id} could be undone; run resume {record.id} tries again.")
            raise errors.StoreError("; ".join(item["what"] for item in left))
        return columns.record({**fields, "undone": True})

    def _cancelled(self, runner: "Runner", run_id: str) -> "Record":
        """Return the run when it is over; whoever holds it may die meanwhile, so he is looked after."""
        from glance_flows.persistence.records import OPEN

        records, said = runner.services.persistence.records, False
        while True:
            run = runner.cancel(run_id, _CANCELLED)
            if run is not None:
                self._undo(runner, run)
            record = records.get(run_id)
            if record.state not in OPEN:
                return record
            if not said:
                said = True
                told.say(f"run {run_id} is asked to stop; waiting for {record.holder} to undo it")
            self.context.signals.wait(_LOOK_SECONDS)
            self.context.signals.check()
            if records.get(run_id).state not in OPEN:
                return records.get(run_id)

    def _undo(self, runner: "Runner", run: "Run") -> None:
        try:
            self.context.follow(run, f"run {run.id}", runner)
        except errors.Cancelled:
            return
        except errors.GlanceFlowsError as failure:
            told.tell(failure, debug=self.context.debug)
