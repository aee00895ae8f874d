"""``db sync``, ``db version``: the tables, where there is no Glance that made them."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glance_flows.cli import base, columns, told

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_flows.db.engine import Engine


class Sync(base.ShowOne):
    """Make the tables of the flows' state and, in a database of our own, those of images; a Glance's are left alone."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Bring the tables up to date, and print the revision reached and where the flows' state is.

        The one command before the first start and after every upgrade, beside a Glance too: its own tables are not
        touched, which is no failure (D1, D3).
        """
        from glance_flows.db import migrate
        from glance_flows.persistence import Persistence

        conf = self.context.conf_with_database()
        persistence = Persistence.from_conf(conf)
        with _engine(conf) as engine:
            theirs = migrate.belongs_to_glance(engine.engine)
            revision = None if theirs else migrate.sync(engine)
        try:
            persistence.sync()
        finally:
            persistence.close()
        if theirs:
            told.say(f"glance-flows: {migrate.THEIRS}")
        fields = {"revision": revision, "made_by": "glance" if theirs else "glance-flows"}
        return columns.record({**fields, "flows_state": persistence.shown})


class Version(base.ShowOne):
    """Tell which revision the tables are, and who made them."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the revision."""
        from glance_flows.db import migrate

        with _engine(self.context.conf_with_database()) as engine:
            theirs = migrate.belongs_to_glance(engine.engine)
            revision = None if theirs else migrate.version(engine)
        maker = "glance" if theirs else "glance-flows" if revision else None
        return columns.record({"revision": revision, "made_by": maker})


@contextlib.contextmanager
def _engine(conf: "cfg.ConfigOpts") -> Iterator["Engine"]:
    from glance_flows.db.engine import Engine

    engine = Engine(conf)
    try:
        yield engine
    finally:
        engine.dispose()
