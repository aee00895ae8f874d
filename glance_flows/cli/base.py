"""The commands' common ground."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, cast

from cliff import command, lister, show

from glance_flows.cli import told
from glance_flows.cli.context import Context


class Command(command.Command):
    """A command; :attr:`context` is what it works with."""

    @property
    def context(self) -> Context:
        """What the command works with."""
        return cast(Any, self.app).context  # type: ignore[no-any-return]

    def _generate_columns_and_selector(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str]
    ) -> tuple[list[str], list[bool] | None]:
        try:
            chosen: tuple[list[str], list[bool] | None]
            chosen = super()._generate_columns_and_selector(parsed_args, column_names)  # type: ignore[misc]
        except ValueError as failure:
            known = ", ".join(column_names)
            told.say(f"glance-flows: --column: there is none of that name; there are: {known}.")
            raise SystemExit(2) from failure
        return chosen

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Print the result.

        :raises OSError: standard output takes no more, on a full disk for one
        """
        try:
            return int(super().produce_output(parsed_args, column_names, data))  # type: ignore[misc]
        except BrokenPipeError:
            raise
        except OSError as failure:
            raise OSError(failure.errno, failure.strerror, "standard output") from failure


class ShowOne(Command, show.ShowOne):
    """A command that prints one record."""


class Lister(Command, lister.Lister):
    """A command that prints a list of records, and may say that some of them failed."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        super().run(parsed_args)
        return self.status

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Print the list; a table of nothing is nothing, not an empty line."""
        rows = list(data)
        if not rows and parsed_args.formatter == "table":
            self._generate_columns_and_selector(parsed_args, column_names)  # refuses a column that is not there
            return 0
        return super().produce_output(parsed_args, column_names, rows)


Fields = tuple[Sequence[str], Iterable[Any]]
