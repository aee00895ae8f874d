"""The program: reads the options that every command has, finds the command, and turns what happens into a status."""

import argparse
import contextlib
import inspect
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, TextIO

from cliff import app, commandmanager

from glance_flows.cli import logs, told
from glance_flows.cli.context import Context
from glance_flows.cli.signals import Abandoned, Interrupted, Signals

NAME = "glance-flows"
_USAGE, _FAILED, _BROKEN_PIPE = 2, 1, 141


class Commands(commandmanager.CommandManager):
    """Finds a command by its whole name: a word cut short must never delete anything."""

    def find_command(self, argv: list[str]) -> tuple[type[Any], str, list[str]]:
        """Return the command's class, its name, and the rest of the arguments."""
        words = list(argv[: self._get_last_possible_command_index(argv)])
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count])
            if name in self.commands:
                return self.commands[name].load(), name, list(argv[count:])
        raise ValueError(f"there is no command {' '.join(words) or argv!r}")


class FlowsApp(app.App):
    """The application: what cliff's does, with our options, log and statuses."""

    NAME = NAME

    def __init__(self, signals: Signals) -> None:
        super().__init__(
            description="Import, copy and delete Glance images as flows that put everything back when they fail.",
            version=metadata.version(NAME),
            command_manager=Commands("glance_flows.commands"),
        )
        self.context = Context(signals=signals)

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        """Return the parser of the options that stand before or after any command."""
        parser = argparse.ArgumentParser(
            prog=NAME, description=description, usage=f"{NAME} [options] COMMAND …", add_help=False, allow_abbrev=False
        )
        shown = f"{NAME} {version}"
        parser.add_argument("--version", action="version", version=shown, help="show the version and exit")
        parser.add_argument(
            "--config-file",
            action="append",
            default=[],
            metavar="F",
            help="a configuration file, later ones win; by default those of Glance",
        )
        parser.add_argument(
            "--config-dir", action="append", default=[], metavar="D", help="a directory whose *.conf files are read"
        )
        parser.add_argument("--debug", action="store_true", help="show tracebacks, and log everything")
        parser.add_argument("-v", "--verbose", action="store_true", help="log what happens")
        parser.add_argument("-q", "--quiet", action="store_true", help="show no progress, and log only errors")
        parser.add_argument("-h", "--help", action="store_true", help="show this help, or a command's, and exit")
        return parser

    def run(self, argv: list[str]) -> int:
        """Run one command and return the exit status."""
        self.options, rest = self.parser.parse_known_args(argv)
        options, context = self.options, self.context
        logs.configure(verbose=options.verbose, quiet=options.quiet, debug=options.debug)
        context.config_files, context.config_directories = options.config_file, options.config_dir
        context.quiet, context.debug = options.quiet, options.debug
        if not rest:
            self._print_help(sys.stdout if options.help else sys.stderr)
            return 0 if options.help else _USAGE
        return self.run_subcommand([*rest, "--help"] if options.help else rest)

    def run_subcommand(self, argv: list[str]) -> int:
        """Find the command, parse its arguments, and run it."""
        try:
            factory, name, arguments = self.command_manager.find_command(argv)
        except ValueError as failure:
            close = ", ".join(self.get_fuzzy_matches(argv[0]))
            told.say(f"{NAME}: {failure}; did you mean: {close}? {NAME} --help lists them all.")
            return _USAGE
        command = factory(self, self.options, cmd_name=name)
        return int(command.run(command.get_parser(f"{NAME} {name}").parse_args(arguments)))

    def _print_help(self, stream: TextIO) -> None:
        self.parser.print_help(stream)
        stream.write("\ncommands:\n")
        for name, point in sorted(self.command_manager):
            text = (inspect.getdoc(point.load()) or "").partition("\n")[0]
            stream.write(f"  {name:<14}  {text}\n")
        stream.write(f"\n{NAME} COMMAND --help tells about one of them.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``glance-flows`` and return its exit status.

    :return: 0 done, 1 failed, 2 called wrongly, 128 and the number of the signal that stopped it
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to fail.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    arguments = list(sys.argv[1:] if argv is None else argv)
    with Signals() as signals:
        try:
            return _guarded(signals, arguments)
        except Abandoned as stop:
            told.say(f"{NAME}: {stop}")
            os._exit(stop.status)  # what did not stop in time must not keep the process


def _guarded(signals: Signals, argv: list[str]) -> int:
    """Turn whatever happens into a sentence and a status."""
    try:
        try:
            status = FlowsApp(signals).run(argv)
        except SystemExit as end:  # argparse printed help or a complaint
            status = end.code if isinstance(end.code, int) else 0
        _flush()
        return status
    except Abandoned:
        raise
    except Interrupted as stop:
        told.say(f"{NAME}: {stop}")
        return stop.status
    except BrokenPipeError:
        _forget_output()
        return _BROKEN_PIPE
    except Exception as failure:
        told.tell(failure, debug="--debug" in argv)
        return _FAILED


def _flush() -> None:
    """Write what is left of the result.

    :raises OSError: it cannot be written, on a full disk for one
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as failure:
        _forget_output()
        raise OSError(failure.errno, failure.strerror, "standard output") from failure


def _forget_output() -> None:
    """Nobody takes the result; what is left of it must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
