"""The program ``glance-scrubber``: the command line, the files and the words of Glance's own (S6, R1 to R4)."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from oslo_config import cfg
from oslo_log import log

from glance_flows import errors, opts
from glance_flows.cli import told
from glance_flows.cli.loading import loading
from glance_flows.version import VERSION

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
        conf(arguments, "glance", NAME, VERSION, default_config_files=list(dict.fromkeys(files)))
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
    with loading():
        from glance_flows.cli import duties
    if conf.restore:
        return duties.restore(conf)
    if conf.dry_run:
        return duties.list_due(conf)
    with _Signals() as signals:
        if not conf.daemon:
            return duties.scrub_once(conf, signals.stop.is_set)
        return duties.scrub_for_ever(conf, lambda: parse(arguments), signals.stop.is_set, signals.on_hangup)


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
