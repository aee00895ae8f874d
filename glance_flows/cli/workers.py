"""The processes of ``glance-flows conductor``: started, replaced and stopped by cotyledon."""

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

import cotyledon
from cotyledon.types import WorkerId

from glance_flows import errors, opts
from glance_flows.board import JobBoard
from glance_flows.conductor import Conductor
from glance_flows.runner import Runner

if TYPE_CHECKING:
    from glance_flows.cli.context import Context

LOG = logging.getLogger(__name__)
#: Seconds beyond stop_grace that a process gets to give its runs back.
_LONGER = 15


class Worker(cotyledon.Service):
    """One process with one conductor; it reads the configuration itself, so that SIGHUP, which replaces it, applies it.

    :param context: how the command was called
    """

    name = "conductor"

    def __init__(self, worker_id: WorkerId, context: "Context") -> None:
        super().__init__(worker_id)
        self._context = context
        conf = context.conf_with_database()
        self._conductor = Conductor(Runner.from_conf(conf))
        self._over = threading.Event()

    def run(self) -> None:
        """Work until :meth:`terminate` is called."""
        try:
            self._conductor.run()
        finally:
            self._over.set()

    def reload(self) -> None:
        """End, to be replaced by a process with the configuration as it is now; one that is wrong is not used."""
        try:
            conf = self._context.conf_with_database()
            opts.require_stores(conf)
            JobBoard.from_conf(conf).close()
        except (errors.GlanceFlowsError, SystemExit) as failure:
            LOG.error("The configuration was read again but is not used: %s", failure)
            return
        super().reload()

    def terminate(self) -> None:
        """Give the runs in hand back."""
        late = self._conductor.drain()
        if late:
            LOG.warning("Runs given back in the middle of a task: %s", ", ".join(late))
            sys.stderr.flush()
            os._exit(0)  # a task that does not end must not keep the process
        self._over.wait(_LONGER)
        self._conductor.runner.close()


def work(context: "Context", count: int, grace: float) -> None:
    """Run conductors in processes of their own until a signal ends them all.

    :param count: how many
    :param grace: seconds that tasks in hand get to end
    """
    manager = cotyledon.ServiceManager(graceful_shutdown_timeout=int(grace) + _LONGER)
    manager.add(Worker, workers=count, args=(context,))
    LOG.info("Process %d looks after the conductors: SIGTERM drains them, SIGHUP renews them", os.getpid())
    manager.run()
