"""``run list``, ``run show``, ``run graph``: what runs are there, and how far they are."""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.cli import arguments, base, columns

if TYPE_CHECKING:
    from glance_flows.persistence import Persistence, Record
    from glance_flows.runner import Runner

_LISTED = ("id", "flow", "image", "state", "progress", "since", "seen", "where", "error")
STATES = ("posted", "running", "interrupted", "suspended", "success", "failure", "unfinished")
_OPEN_STATES = ("posted", "running", "interrupted", "suspended", "unfinished")


class List(base.Lister):
    """List the runs that somebody has to do something about, or all that are remembered."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--all", action="store_true", help="those that are over, too")
        parser.add_argument("--image", type=arguments.image_id, metavar="ID", help="only those on this image")
        parser.add_argument("--state", choices=STATES, help="only those in this state")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the runs, the oldest first."""
        open_only = not parsed_args.all and parsed_args.state in (None, *_OPEN_STATES)
        with self.context.persistence() as (persistence, lease):
            rows = list(_rows(persistence, lease, open_only=open_only, image_id=parsed_args.image))
        wanted = [row for row in rows if parsed_args.state in (None, row["state"])]
        wanted.sort(key=lambda row: (row["since"], row["id"]))
        return _LISTED, [[columns.formattable(row[name]) for name in _LISTED] for row in wanted]


class Show(base.ShowOne):
    """Show everything about a run: its tasks, what it left behind, and why it cannot be resumed here, if so."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("run", metavar="ID", help="id of the run")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the run."""
        from glance_flows.resumption import Resumption

        with self.context.runner() as runner:
            record = runner.services.persistence.records.get(parsed_args.run)
            fields = described(record, runner.services.conf.glance_flows.lease_seconds)
            tasks = task_states(runner, record)
            why_not = Resumption(runner.services, runner.holder, runner.build).why_not(record)
            waits = _waits(runner, record)
        spec = record.spec.plain()
        request = spec.pop("resolved", None) or spec
        fields |= {
            "finished": record.finished_at,
            "version": record.version,
            "request": {
                name: value for name, value in request.items() if value not in (None, [], {}) and name != "identity"
            },
            "tasks": [{"task": name, "state": state} for name, state in tasks.items()],
            "leftovers": [dict(item) for item in record.leftovers],
            "cancel_reason": record.cancel_reason,
            "not_resumable": why_not,
            "waits": waits,
        }
        return columns.record(fields)


class Graph(base.Command):
    """Draw a run: each task with its state."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("run", metavar="ID", help="id of the run")
        how = "for Graphviz, for a README, or a picture made by Graphviz"
        parser.add_argument("--format", choices=("dot", "mermaid", "svg"), default="dot", help=how)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print the drawing."""
        from glance_flows import drawing

        with self.context.runner() as runner:
            record = runner.services.persistence.records.get(parsed_args.run)
            flow, states = runner.build(record.spec), task_states(runner, record)
        if parsed_args.format == "mermaid":
            sys.stdout.write(drawing.mermaid(flow, states))
            return
        text = drawing.dot(flow, states)
        sys.stdout.write(_svg(text) if parsed_args.format == "svg" else text)


def described(record: "Record", lease: int) -> dict[str, Any]:
    """Return a run as it is listed.

    :param lease: seconds after which a run without a sign of life is dead
    """
    seen = max(0, int(timeutils.delta_seconds(record.renewed_at, timeutils.utcnow())))
    return {
        "id": record.id,
        "flow": record.spec.flow,
        "image": record.image_id or None,
        "state": _state(record, seen >= lease),
        "progress": [_part(part) for part in record.progress],
        "since": record.created_at,
        "seen": None if record.finished_at else f"{seen} s ago",
        "where": None if record.state == "posted" else record.holder,
        "error": record.error or "; ".join(item["what"] for item in record.leftovers) or None,
    }


def task_states(runner: "Runner", record: "Record") -> dict[str, str]:
    """Return the state of each task of a run, in the order of the flow."""
    from glance_flows.drawing import WAITING
    from glance_flows.flow import tasks_of

    detail = runner.services.persistence.find(record.id)
    stored = {} if detail is None else {atom.name: str(atom.state or WAITING).lower() for atom in detail}
    return {name: stored.get(name, WAITING) for name, _ in tasks_of(runner.build(record.spec))}


def _waits(runner: "Runner", record: "Record") -> str | None:
    """Tell what a posted run waits for; None for any other."""
    from glance_flows.placement import waits_for

    persistence = runner.services.persistence
    lease = timedelta(seconds=runner.services.conf.glance_flows.lease_seconds)
    dead = record.state == "running" and timeutils.utcnow() - record.renewed_at >= lease
    posting = persistence.postings.of([record.id]).get(record.id)
    if posting is None or not (dead or record.state in ("posted", "suspended")):
        return None
    return waits_for(posting.needs, persistence.conductors.alive(lease))


def _rows(persistence: "Persistence", lease: int, **wanted: Any) -> Iterator[dict[str, Any]]:
    after = ""
    while page := persistence.records.page(after=after, **wanted):
        for record in page:
            yield described(record, lease)
        after = page[-1].id


def _state(record: "Record", dead: bool) -> str:
    if record.state == "running":
        return "interrupted" if dead else "running"
    return "unfinished" if record.leftovers and record.finished_at else record.state


def _part(part: Mapping[str, Any]) -> str:
    total, done = part.get("total"), part.get("done") or 0
    if part.get("state") != "running":
        return f"{part['part']}: {part['state']}"
    return (
        f"{part['part']}: {done * 100 // total if total else 0}%" if total is not None else f"{part['part']}: {done} B"
    )


def _svg(text: str) -> str:
    try:
        done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True)
    except FileNotFoundError as failure:
        raise errors.ConfigurationError(
            "an SVG needs the program dot of Graphviz, which is not installed here; --format mermaid does without."
        ) from failure
    except subprocess.CalledProcessError as failure:
        raise errors.TaskFailed(f"the program dot failed: {failure.stderr.strip()}") from failure
    return done.stdout
