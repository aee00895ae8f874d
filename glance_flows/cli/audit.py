"""``audit``: what is left over, and mending what is certain."""

import argparse
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from glance_flows import errors
from glance_flows.cli import arguments, base, columns, told

if TYPE_CHECKING:
    from glance_flows.audit import Finding

_COLUMNS = ("kind", "image", "store", "what", "since", "advice", "repaired")


class Audit(base.Lister):
    """Compare the database with the stores and tell what does not fit; reads only, unless told to repair."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--repair", action="store_true", help="mend what is certain, after showing it and asking")
        parser.add_argument("--yes", action="store_true", help="do not ask before mending")
        older = "leave alone what changed in the last so many minutes: it may be under way; default: 60"
        parser.add_argument("--age", type=arguments.natural(0), default=60, metavar="MINUTES", help=older)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the findings; the status is 1 where something is left that does not fit."""
        from glance_flows.audit import Audit as Comparison

        with self.context.runner() as runner:
            found = list(Comparison(runner.services, timedelta(minutes=parsed_args.age)).findings())
            repaired = self._repair(found, sure=parsed_args.yes) if parsed_args.repair else set()
        self.status = 1 if any(number not in repaired for number in range(len(found))) else 0
        return _COLUMNS, [_row(finding, number in repaired) for number, finding in enumerate(found)]

    def _repair(self, found: "list[Finding]", *, sure: bool) -> set[int]:
        """Show what is to be mended, ask, and mend it; return the numbers of what was."""
        certain = [(number, finding) for number, finding in enumerate(found) if finding.repair is not None]
        for _, finding in certain:
            told.say(f"to repair: {finding.kind}: image {finding.image}: {columns.printable(finding.what)}")
        if not certain or not (sure or _agreed(len(certain))):
            return set()
        return {number for number, finding in certain if self._mend(finding)}

    def _mend(self, finding: "Finding") -> bool:
        self.context.signals.check()
        try:
            return bool(finding.repair and finding.repair())
        except (errors.GlanceFlowsError, OSError) as failure:
            told.tell(failure, debug=self.context.debug)
            return False


def _agreed(count: int) -> bool:
    """Ask; where nobody can be asked nothing is agreed to."""
    if not sys.stdin.isatty():
        told.say("glance-flows: nothing was repaired: there is nobody to ask; --yes does without.")
        return False
    told.say(f"Repair these {count}? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _row(finding: "Finding", repaired: bool) -> list[object]:
    fields = {name: getattr(finding, name) for name in _COLUMNS[:-1]}
    return [*(columns.formattable(value) for value in fields.values()), repaired]
