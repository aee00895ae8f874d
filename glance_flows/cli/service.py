"""What a scrubber daemon works with, made anew when its configuration is to be read again."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from oslo_config import cfg

from glance_flows import errors
from glance_flows.coordination import Place
from glance_flows.runner import Runner
from glance_flows.scrubber import Scrubber

LOG = logging.getLogger(__name__)


class Service:
    """Makes the scrubber of each pass, from the configuration as it was last read.

    :param conf: the configuration to begin with
    :param read: reads it anew
    :param place: by which the daemon is seen; taken again where it was lost
    """

    def __init__(self, conf: cfg.ConfigOpts, read: Callable[[], cfg.ConfigOpts], place: Place) -> None:
        self._read = read
        self._place = place
        self._again = threading.Event()
        self._conf = conf
        self._runner = Runner.from_conf(conf, imports=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.close()

    def reload(self) -> None:
        """Have the configuration read before the next pass."""
        self._again.set()

    def wakeup(self) -> float:
        """Return how many seconds to wait between two passes."""
        return float(self._conf.wakeup_time)

    def scrubber(self) -> Scrubber:
        """Return the scrubber of the next pass."""
        if self._again.is_set():
            self._again.clear()
            self._load()
        self._place.take()
        return Scrubber(self._runner)

    def _load(self) -> None:
        """Read the configuration; one that is wrong is told, and the one before stays."""
        try:
            conf = self._read()
            runner = Runner.from_conf(conf, imports=False)
        except (errors.GlanceFlowsError, SystemExit) as failure:
            LOG.error("The configuration was read again but is not used: %s", failure)
            return
        before, self._runner, self._conf = self._runner, runner, conf
        before.close()
        LOG.info("The configuration was read again; the scrubber wakes up every %d seconds", conf.wakeup_time)
