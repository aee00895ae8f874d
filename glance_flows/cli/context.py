"""What a command works with: the configuration, the library's services, and the eyes of whoever watches."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glance_flows import errors
from glance_flows.cli.signals import Signals

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_flows.cli.jobs import Work
    from glance_flows.db import Database
    from glance_flows.flow import FlowSpec
    from glance_flows.identity import Identity
    from glance_flows.runner import Runner

NO_DATABASE = (
    "no configuration was found that names a database: name a file with --config-file,"
    " or make one to try things out with: glance-flows quickstart"
)


@dataclass
class Context:
    """Made once a command; everything in it is opened when it is first needed, so that ``--help`` is quick."""

    config_files: list[str] = field(default_factory=list)
    config_directories: list[str] = field(default_factory=list)
    quiet: bool = False
    debug: bool = False
    signals: Signals = field(default_factory=Signals)

    def conf(self) -> "cfg.ConfigOpts":
        """Read the configuration: the files that were named, or else those of Glance.

        :raises ConfigurationError: naming the option that is wrong (D2)
        """
        from glance_flows import opts

        return opts.load(self.config_files or None, self.config_directories or None)

    def conf_with_database(self) -> "cfg.ConfigOpts":
        """Read a configuration that names a database.

        :raises ConfigurationError: it names none; the message says where to get one
        """
        conf = self.conf()
        if not conf.database.connection:
            named = [*(conf.config_file or ()), *self.config_directories]
            if not named:
                raise errors.ConfigurationError(NO_DATABASE)
            raise errors.ConfigurationError(f"[database] connection is not set in {', '.join(map(str, named))}.")
        return conf

    @contextlib.contextmanager
    def database(self) -> Iterator["Database"]:
        """Open the database alone, for commands that need no store."""
        from glance_flows.db import Database, migrate

        database = Database.from_conf(self.conf_with_database())
        try:
            migrate.check(database.engine)
            yield database
        finally:
            database.close()

    @contextlib.contextmanager
    def runner(self, conf: "cfg.ConfigOpts | None" = None) -> Iterator["Runner"]:
        """Open everything; leaving stops and undoes whatever still runs."""
        from glance_flows.db import migrate
        from glance_flows.runner import Runner

        runner = Runner.from_conf(conf if conf is not None else self.conf_with_database())
        try:
            migrate.check(runner.services.db.engine)
            yield runner
        except BaseException:
            runner.cancel_all("the command was stopped.")
            raise
        finally:
            with self.signals.deferred():
                runner.close()

    @staticmethod
    def identity(conf: "cfg.ConfigOpts") -> "Identity":
        """Whoever may read the configuration file is the operator, even where requests must name an identity (C4)."""
        from glance_flows.identity import Identity

        return Identity.operator(conf.admin_role)

    def run(self, runner: "Runner", spec: "FlowSpec", what: str) -> dict[str, Any]:
        """Run a flow, show how far it is, and return its facts.

        :param what: names the work in a message, as in "the import"
        :raises Interrupted: a signal stopped it, and it is undone
        """
        self.signals.check()
        run = runner.submit(spec, identity=self.identity(runner.services.conf))
        facts: dict[str, Any] = self.follow(run, what)
        return facts

    def follow(self, work: "Work", what: str) -> Any:
        """Wait for work that is under way, show how far it is, and return its result."""
        from glance_flows.cli import watch

        return watch.follow(work, what, watch.choose(self.quiet), self.signals)
