"""The program ``glance-scrubber``: the command line, the files and the words of Glance's own (S6, R1 to R4)."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

from oslo_config import cfg
from oslo_log import log

from glance_flows import errors, opts
from glance_flows.cli import scrubbing, told
from glance_flows.cli.service import Service
from glance_flows.coordination import Coordinator
from glance_flows.flows import restore_image
from glance_flows.identity import Identity
from glance_flows.runner import Runner
from glance_flows.scrubber import Daemon, Scrubber

NAME = "glance-scrubber"
LOG = log.getLogger(__name__)
_BROKEN_PIPE = 141

CLI_OPTS: list[cfg.Opt] = [
    cfg.StrOpt("restore", metavar="IMAGE_ID", help="Bring a deleted image back whose data is still there, and exit."),
    cfg.BoolOpt("dry-run", default=False, help="List what a pass would remove, and touch nothing."),
    cfg.StrOpt(
        "format", short="f", choices=("table", "json"), default="table", help="How to print; json prints one object."
    ),
]


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the options of the command line, for the generators of references and man pages (D4)."""
    return [(None, [*(opt for opt in opts.glance.GLANCE_OPTS if opt.name == "daemon"), *CLI_OPTS])]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``glance-scrubber`` and return its exit status.

    :return: 0 done, or stopped by a signal; 1 something failed; 2 called wrongly
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except errors.GlanceFlowsError as failure:
        told.say(f"ERROR: {failure}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as failure:
        LOG.debug("The scrubber failed", exc_info=True)
        told.say(f"ERROR: {told.sentence(failure)}")
    return 1


def parse(arguments: Sequence[str]) -> cfg.ConfigOpts:
    """Read the command line and the configuration files it names, or else those of Glance.

    :raises ConfigurationError: a file is missing or malformed, or an option has a value it must not have (D2)
    :raises SystemExit: the command line is wrong, or asked for help
    """
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf.register_cli_opts(list_opts()[0][1])
    log.register_options(conf)
    files = [path for name in ("glance-api", NAME) for path in cfg.find_config_files(project="glance", prog=name)]
    try:
        version = metadata.version("glance-flows")
        conf(arguments, "glance", NAME, version, default_config_files=list(dict.fromkeys(files)))
        opts.check(conf)
        # As Glance's own does, but where a file takes the log cron has nothing to send.
        conf.set_default("use_stderr", not (conf.log_file or conf.log_dir))
        log.setup(conf, "glance")
    except (cfg.Error, log.LogConfigError) as failure:
        raise errors.ConfigurationError(f"cannot read the configuration: {failure}") from failure
    if not conf.debug:
        # It announces each error that it hands on, with its traceback, and those are told already.
        logging.getLogger("oslo_db.sqlalchemy.exc_filters").setLevel(logging.CRITICAL)
    return conf


def _run(arguments: Sequence[str]) -> int:
    conf = parse(arguments)
    if conf.restore and conf.daemon:
        raise errors.BadRequest(
            "The restore and daemon options should not be set together. Please use either of them in one request."
        )
    if conf.restore:
        return _restore(conf)
    if conf.dry_run:
        with Runner.from_conf(conf) as runner:
            scrubbing.list_due(Scrubber(runner).due(), as_json=conf.format == "json")
        return 0
    with _Signals() as signals:
        return _daemon(conf, arguments, signals) if conf.daemon else _pass(conf, signals)


def _restore(conf: cfg.ConfigOpts) -> int:
    """Bring one image back, while no scrubber runs (R1, R2)."""
    with Coordinator.from_conf(conf).alone(), Runner.from_conf(conf) as runner:
        facts = runner.run(restore_image(conf.restore), identity=Identity.operator(conf.admin_role))
    back = facts["restored"]
    if conf.format == "json":
        print(json.dumps({"image": conf.restore, **back}))
        return 0
    kinds = (("location", "locations"), ("property", "properties"), ("tag", "tags"), ("member", "members"))
    counts = ", ".join(scrubbing.counted(back[many], one, many) for one, many in kinds)
    print(f"Image {conf.restore} is active again: {counts}")
    return 0


def _pass(conf: cfg.ConfigOpts, signals: "_Signals") -> int:
    """Scrub once, and tell what failed (S7, S11)."""
    as_json = conf.format == "json"
    progress = scrubbing.Progress()
    with Coordinator.from_conf(conf).scrubbing(), Runner.from_conf(conf) as runner:
        scrubber = Scrubber(runner, told=progress)
        try:
            report = scrubbing.supervise(scrubber.run_pass, scrubber.stop, signals.stop.is_set)
        except errors.DatabaseError as failure:
            LOG.critical("The database cannot be used: %s", failure)
            raise
        finally:
            progress.close()
    LOG.info("Scrubbed %s", report)
    if as_json or sys.stdout.isatty() or report.failed:
        scrubbing.tell(report, as_json=as_json)
    return 1 if report.failed else 0


def _daemon(conf: cfg.ConfigOpts, arguments: Sequence[str], signals: "_Signals") -> int:
    """Scrub for ever (S6)."""
    with Coordinator.from_conf(conf).scrubbing() as place, Service(conf, lambda: parse(arguments), place) as service:
        daemon = Daemon(service.scrubber, service.wakeup)

        def reload() -> None:
            service.reload()
            daemon.wake()

        signals.on_hangup(reload)
        LOG.info("The scrubber daemon has started; it wakes up every %d seconds", conf.wakeup_time)
        scrubbing.supervise(daemon.run, daemon.stop, signals.stop.is_set)
    LOG.info("The scrubber daemon has stopped")
    return 0


class _Signals:
    """SIGTERM and SIGINT ask for the end, SIGHUP for the configuration to be read anew; without a daemon, for the end.

    A handler only sets an event: whoever supervises the work looks at it.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._on_hangup: Callable[[], None] = self.stop.set

    def on_hangup(self, act: Callable[[], None]) -> None:
        """Call ``act`` when a SIGHUP comes."""
        self._on_hangup = act

    def _hangup(self) -> None:
        self._on_hangup()

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        acts: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self.stop.set,
            signal.SIGINT: self.stop.set,
            signal.SIGHUP: self._hangup,
        }
        # Whoever started us with a signal ignored (nohup, a shell's background job) means it.
        caught = {signum: act for signum, act in acts.items() if signal.getsignal(signum) is not signal.SIG_IGN}
        before = {signum: signal.signal(signum, lambda n, _: caught[n]()) for signum in caught}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def __enter__(self) -> "_Signals":
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self._installed())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


if __name__ == "__main__":
    sys.exit(main())
