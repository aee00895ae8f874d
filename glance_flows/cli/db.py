"""``db sync``, ``db version``: the tables, where there is no Glance that made them."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glance_flows.cli import base, columns

if TYPE_CHECKING:
    from glance_flows.db.engine import Engine


class Sync(base.ShowOne):
    """Make the tables in a database of our own, or bring them up to date; a Glance's are left alone."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Bring the tables up to date and print the revision reached."""
        from glance_flows.db import migrate

        with _engine(self) as engine:
            return columns.record({"revision": migrate.sync(engine)})


class Version(base.ShowOne):
    """Tell which revision the tables are, and who made them."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the revision."""
        from glance_flows.db import migrate

        with _engine(self) as engine:
            theirs = migrate.belongs_to_glance(engine.engine)
            revision = None if theirs else migrate.version(engine)
        maker = "glance" if theirs else "glance-flows" if revision else None
        return columns.record({"revision": revision, "made_by": maker})


@contextlib.contextmanager
def _engine(command: base.Command) -> Iterator["Engine"]:
    from glance_flows.db.engine import Engine

    engine = Engine(command.context.conf_with_database())
    try:
        yield engine
    finally:
        engine.dispose()
