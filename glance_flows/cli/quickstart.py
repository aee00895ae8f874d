"""``quickstart``: try everything, with nothing installed but this."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_flows.cli import base

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_flows.cli.context import Context
    from glance_flows.flow import FlowSpec
    from glance_flows.quickstart import Folder, Result
    from glance_flows.runner import Runner

_MIB = 1024 * 1024


class Quickstart(base.Command):
    """Make a folder with a database and stores, and take an image through an import and a copy in it."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--dir", default="./glance-flows-quickstart", metavar="D", help="the folder, new or from last time"
        )
        parser.add_argument("--image", metavar="FILE_OR_URL", help="an image to take; by default one is made")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Take the tour, and tell where everything is and what to type next."""
        from glance_flows.quickstart import Folder, take

        folder = Folder.opened(parsed_args.dir)
        result = take(folder, parsed_args.image, _Guide(self.context))
        print("\n".join(_told(folder, result)))


class _Guide:
    """Shows the tour on standard output, and its progress as any command does."""

    def __init__(self, context: "Context") -> None:
        self._context = context

    def say(self, text: str) -> None:
        if not self._context.quiet:
            print(text, flush=True)

    def runner(self, conf: "cfg.ConfigOpts") -> AbstractContextManager["Runner"]:
        return self._context.runner(conf)

    def run(self, runner: "Runner", spec: "FlowSpec", what: str) -> dict[str, Any]:
        return self._context.run(runner, spec, what)


def _told(folder: "Folder", result: "Result") -> Iterator[str]:
    image = result.image
    yield ""
    yield f"Done: image {image.id} ({image.name}, {(image.size or 0) / _MIB:.1f} MiB) is {image.status}."
    yield ""
    yield f"  configuration  {folder.config}"
    yield f"  database       {folder.database}"
    for store, path in result.files.items():
        yield f"  {store:<13}  {path}"
    yield ""
    yield "Next:"
    saved = folder.path / f"saved-{image.id[:8]}.{image.disk_format}"
    for command in (
        ["image", "show", image.id],
        ["image", "save", image.id, "--file", _near(saved)],
        ["copy", image.id, "--store", "spare"],
        ["delete", image.id],
    ):
        yield "  " + shlex.join([*_program(), "--config-file", _near(folder.config), *command])


def _near(path: Path) -> str:
    """Return a path as it is shortest from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(("..", "-")) else relative


def _program() -> list[str]:
    """Return how this program was called, so that it can be called again."""
    called = sys.argv[0]
    found = shutil.which(os.path.basename(called))
    if found and os.path.exists(called) and os.path.samefile(found, called):
        return [os.path.basename(called)]
    if os.access(called, os.X_OK):
        return [called]
    return [sys.executable, "-m", "glance_flows.cli.main"]
