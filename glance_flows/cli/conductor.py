"""``conductor``, ``conductor list``: posted runs are worked on here, and wherever else (F5)."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

from oslo_utils import timeutils

from glance_flows.cli import arguments, base, columns, logs

if TYPE_CHECKING:
    from glance_flows.persistence import ConductorRecord, Persistence

LOG = logging.getLogger(__name__)
_LISTED = ("name", "host", "state", "jobs", "runs", "stores", "since", "seen")
_MANY = 10_000


class Conduct(base.Command):
    """Work on posted runs until SIGTERM: then suspend those in hand, and give them back for others to go on with."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--workers",
            type=arguments.natural(1),
            default=1,
            metavar="N",
            help="how many processes; each works on up to [taskflow_executor] max_workers runs at once; default: 1",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Check what the processes will need, start them, and look after them.

        :raises ConfigurationError: naming the option that is wrong
        :raises DatabaseError, BoardUnavailable: it must be there at the start; later it may come and go
        """
        from glance_flows.cli import workers

        context = self.context
        logs.configure(verbose=not context.quiet, quiet=context.quiet, debug=context.debug)
        with context.runner() as runner:
            runner.services.persistence.ready()
            runner.services.board.count()
            own = runner.services.conf.glance_flows
            if not own.persistence_connection:
                LOG.warning("[glance_flows] persistence_connection is not set: runs of other hosts are not seen here")
            grace = own.stop_grace
        with context.signals.released():
            workers.work(context, parsed_args.workers, grace)


class List(base.Lister):
    """List the conductors: which are alive, what each works on, since when."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print them in the order of their names."""
        with self.context.persistence() as (persistence, lease):
            rows = [_row(persistence, each, lease) for each in persistence.conductors.all()]
        return _LISTED, rows


def _row(persistence: "Persistence", conductor: "ConductorRecord", lease: int) -> list[Any]:
    now = timeutils.utcnow()
    seen = max(0, int(timeutils.delta_seconds(conductor.renewed_at, now)))
    runs = persistence.records.page(limit=_MANY, holder=conductor.name, state="running")
    told = [
        {
            "run": run.id,
            "flow": run.spec.flow,
            "image": run.image_id or None,
            "since": run.created_at.isoformat(timespec="seconds") + "Z",
        }
        for run in runs
    ]
    state = conductor.state if seen < lease else "silent"
    values = (
        conductor.name, conductor.host, state, conductor.jobs, told, list(conductor.stores),
        conductor.started_at, f"{seen} s ago",
    )  # fmt: skip
    return [columns.formattable(value) for value in values]
