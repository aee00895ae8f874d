"""``scrub``: one pass over the images whose time is up."""

import argparse
from typing import TYPE_CHECKING

from glance_flows.cli import base, scrubbing

if TYPE_CHECKING:
    from glance_flows.dispersal import PostedScrub


class Scrub(base.Command):
    """Remove the data of deleted images whose scrub_time is over; side by side with any number of other scrubbers."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--dry-run", action="store_true", help="list what would be removed, and touch nothing")
        parser.add_argument("--store", metavar="S", help="only data in this store")
        parser.add_argument("--owner", metavar="O", help="only images of this project")
        parser.add_argument("--image", metavar="ID", help="only this image")
        parser.add_argument(
            "--post", action="store_true", help="leave the work to the conductors: glance-flows conductor, on any host"
        )
        parser.add_argument(
            "-f", "--format", choices=("table", "json"), default="table", help="json prints one object; default: table"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the pass, or list what it would remove; return 1 when something could not be removed (S7).

        :raises StoreUnavailable: this host has no such store; a misspelt name would remove nothing for ever
        :raises NoConductor, BoardUnavailable: the pages cannot be left to others
        """
        from glance_flows.coordination import Coordinator
        from glance_flows.scrubber import Scrubber

        wanted = {"image_id": parsed_args.image, "owner": parsed_args.owner, "store": parsed_args.store}
        as_json = parsed_args.format == "json"
        conf = self.context.conf_with_database()
        with self.context.runner(conf) as runner:
            if parsed_args.dry_run:
                scrubbing.list_due(Scrubber(runner, **wanted).due(), as_json=as_json)
                return 0
            if parsed_args.store is not None and not parsed_args.post:
                runner.services.stores.get(parsed_args.store)
            progress = scrubbing.Progress(shown=not self.context.quiet)
            kind = _posted() if parsed_args.post else Scrubber
            scrubber = kind(runner, **wanted, told=progress)
            signals = self.context.signals
            with signals.deferred(), Coordinator.from_conf(conf).scrubbing():
                try:
                    report = scrubbing.supervise(scrubber.run_pass, scrubber.stop, lambda: signals.signum is not None)
                finally:
                    progress.close()
        scrubbing.tell(report, as_json=as_json)
        return 1 if report.failed else 0


def _posted() -> "type[PostedScrub]":
    """Load the jobboard only where it is wanted."""
    from glance_flows.dispersal import PostedScrub

    return PostedScrub
