"""The commands' common ground."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, cast

from cliff import command, lister, show

from glance_flows.cli.context import Context


class Command(command.Command):
    """A command; :attr:`context` is what it works with."""

    @property
    def context(self) -> Context:
        """What the command works with."""
        return cast(Any, self.app).context  # type: ignore[no-any-return]


class ShowOne(Command, show.ShowOne):
    """A command that prints one record."""


class Lister(Command, lister.Lister):
    """A command that prints a list of records, and may say that some of them failed."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        super().run(parsed_args)
        return self.status


Fields = tuple[Sequence[str], Iterable[Any]]
