"""What ``glance-scrubber`` does once its command line is read: a pass, passes for ever, a look, a restore."""

import json
import logging
import sys
from collections.abc import Callable

from oslo_config import cfg

from glance_flows import errors
from glance_flows.cli import scrubbing
from glance_flows.cli.loading import loading
from glance_flows.cli.service import Service
from glance_flows.coordination import Coordinator
from glance_flows.flows import restore_image
from glance_flows.identity import Identity
from glance_flows.runner import Runner
from glance_flows.scrubber import Daemon, Scrubber

LOG = logging.getLogger(__name__)


def _runner(conf: cfg.ConfigOpts) -> Runner:
    with loading():
        return Runner.from_conf(conf, imports=False)


def list_due(conf: cfg.ConfigOpts) -> int:
    """List what a pass would remove (S16), and return the exit status."""
    with _runner(conf) as runner:
        scrubbing.list_due(Scrubber(runner).due(), as_json=conf.format == "json")
    return 0


def restore(conf: cfg.ConfigOpts) -> int:
    """Bring one image back, while no scrubber runs (R1, R2), and return the exit status."""
    with Coordinator.from_conf(conf).alone(), _runner(conf) as runner:
        facts = runner.run(restore_image(conf.restore), identity=Identity.operator(conf.admin_role))
    back = facts["restored"]
    if conf.format == "json":
        print(json.dumps({"image": conf.restore, **back}))
        return 0
    kinds = (("location", "locations"), ("property", "properties"), ("tag", "tags"), ("member", "members"))
    counts = ", ".join(scrubbing.counted(back[many], one, many) for one, many in kinds)
    print(f"Image {conf.restore} is active again: {counts}")
    return 0


def scrub_once(conf: cfg.ConfigOpts, stopped: Callable[[], bool]) -> int:
    """Scrub once, tell what failed (S7, S11), and return the exit status.

    :param stopped: tells whether a signal asks for the end
    :raises DatabaseError: the database cannot be used
    """
    as_json = conf.format == "json"
    progress = scrubbing.Progress()
    with Coordinator.from_conf(conf).scrubbing(), _runner(conf) as runner:
        scrubber = Scrubber(runner, told=progress)
        try:
            report = scrubbing.supervise(scrubber.run_pass, scrubber.stop, stopped)
        except errors.DatabaseError as failure:
            LOG.critical("The database cannot be used: %s", failure)
            raise
        finally:
            progress.close()
    LOG.info("Scrubbed %s", report)
    if as_json or sys.stdout.isatty() or report.failed:
        scrubbing.tell(report, as_json=as_json)
    return 1 if report.failed else 0


def scrub_for_ever(
    conf: cfg.ConfigOpts,
    read: Callable[[], cfg.ConfigOpts],
    stopped: Callable[[], bool],
    on_hangup: Callable[[Callable[[], None]], None],
) -> int:
    """Scrub until a signal asks for the end (S6), and return the exit status.

    :param read: reads the configuration anew
    :param stopped: tells whether a signal asks for the end
    :param on_hangup: is given what is to happen on a SIGHUP
    """
    with Coordinator.from_conf(conf).scrubbing() as place, Service(conf, read, place) as service:
        daemon = Daemon(service.scrubber, service.wakeup)

        def reload() -> None:
            service.reload()
            daemon.wake()

        on_hangup(reload)
        LOG.info("The scrubber daemon has started; it wakes up every %d seconds", conf.wakeup_time)
        scrubbing.supervise(daemon.run, daemon.stop, stopped)
    LOG.info("The scrubber daemon has stopped")
    return 0
