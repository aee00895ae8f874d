"""What a command works with: the configuration, the library's services, and the eyes of whoever watches."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glance_flows import errors
from glance_flows.cli.signals import Abandoned, Interrupted, Signals

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_flows.cli.jobs import Work
    from glance_flows.db import Database
    from glance_flows.flow import FlowSpec
    from glance_flows.identity import Identity
    from glance_flows.persistence import Persistence
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
        except Abandoned:
            raise
        except BaseException as ended:
            self._end(runner, ended)
            raise
        finally:
            if not isinstance(sys.exception(), Abandoned):
                with self.signals.deferred():
                    runner.close()

    def _end(self, runner: "Runner", ended: BaseException) -> None:
        """Have whatever still runs suspended, where that was asked for, or undone."""
        if isinstance(ended, Interrupted) and not self.signals.undo:
            with self.signals.deferred():
                if runner.stop():
                    raise Abandoned(ended.signum, "runs did not stop in time; go on with: glance-flows run resume")
            return
        runner.cancel_all("the command was stopped.")

    @contextlib.contextmanager
    def persistence(self) -> Iterator[tuple["Persistence", int]]:
        """Open the flows' state alone, and tell how many seconds a run may be silent before it is dead."""
        from glance_flows.persistence import Persistence

        conf = self.conf()
        persistence = Persistence.from_conf(conf)
        try:
            persistence.ready()
            yield persistence, conf.glance_flows.lease_seconds
        finally:
            persistence.close()

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
        facts: dict[str, Any] = self.follow(run, what, runner)
        return facts

    def follow(self, work: "Work", what: str, runner: "Runner | None" = None) -> Any:
        """Wait for work that is under way, show how far it is, and return its result.

        :param runner: what the work runs on, if it is a run
        """
        from glance_flows.cli import watch

        abandon = None if runner is None else _Patience(runner)
        return watch.follow(work, what, watch.choose(self.quiet), self.signals, abandon)


class _Patience:
    """Gives up the runs of a runner when the time that tasks in hand get is over.

    :param runner: whose runs are to be suspended
    """

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._end: float | None = None

    def __call__(self) -> bool:
        if self._end is None:
            self._end = time.monotonic() + self._runner.services.conf.glance_flows.stop_grace
        return time.monotonic() >= self._end and bool(self._runner.stop(0))
