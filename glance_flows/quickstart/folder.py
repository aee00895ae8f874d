"""The folder of a quickstart: a configuration, a database and stores, all of its own."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from oslo_config import cfg

from glance_flows import errors, opts

MARK = "# Made by glance-flows quickstart."
STORES = ("fast", "archive", "remote", "spare")
_OURS = ".glance-flows-"
_WEB_PORTS = (80, 443)

_TEXT = """\
{mark} Yours to play with; when you are done, remove the folder.
[DEFAULT]
enabled_backends = {backends}
enabled_import_methods = [glance-direct, web-download, copy-image]

[database]
connection = sqlite:///{folder}/glance.sqlite

[glance_store]
default_backend = fast

{stores}
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging

[glance_flows]
state_path = {folder}/state

[import_filtering_opts]
allowed_schemes = [http, https]
allowed_hosts = []
allowed_ports = [80, 443]
"""


class Folder:
    """A folder of ours; see :meth:`opened`.

    :param path: absolute path
    :param found: whether it was there before
    """

    def __init__(self, path: Path, found: bool) -> None:
        self.path = path
        self.found = found

    @classmethod
    def opened(cls, directory: str) -> Self:
        """Make a folder, or take one that an earlier quickstart made.

        :raises BadRequest: there is something else of that name, or the name cannot stand in a configuration file
        """
        path = Path(os.path.abspath(directory))
        if re.search(r"[\r\n$?#;]", str(path)) or str(path) != str(path).strip():
            raise errors.BadRequest(
                f"--dir {directory!r}: choose a name without line breaks, blanks at the ends or any of $ ? # ;"
            )
        folder = cls(path, found=(path / "glance-flows.conf").is_file())
        try:
            folder._make()
        except OSError as failure:
            raise errors.BadRequest(f"--dir {directory}: cannot make the folder: {failure.strerror}.") from failure
        return folder

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "glance-flows.conf"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "glance.sqlite"

    def conf(self) -> cfg.ConfigOpts:
        """Read the configuration.

        :raises ConfigurationError: somebody has edited it, and an option is wrong now
        """
        return opts.load([self.config])

    def ports(self) -> list[int]:
        """Return the ports that earlier quickstarts had their web servers on."""
        return [
            port for port in self.conf().import_filtering_opts.allowed_ports if port not in _WEB_PORTS and port > 1023
        ]

    def allow(self, places: Iterable[tuple[str, int]]) -> None:
        """Let web-download fetch from hosts and ports: add them to the lists of the configuration file."""
        filters = self.conf().import_filtering_opts
        text = self.config.read_text()
        for position, name in enumerate(("allowed_hosts", "allowed_ports")):
            allowed = list(filters[name])
            wanted = list(dict.fromkeys([*allowed, *(place[position] for place in places)]))
            if wanted != allowed:
                text = _with_line(text, name, wanted)
        if text != self.config.read_text():
            self._write(text)

    def _make(self) -> None:
        if self.path.is_dir():
            ours = self.found and self.config.read_text(errors="replace").startswith(MARK)
            strange = [name for name in os.listdir(self.path) if not name.startswith(_OURS)]
            if strange and not ours:
                raise errors.BadRequest(
                    f"--dir: {self.path} is not empty and no quickstart made it: name another folder."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        if self.found:
            return
        stores = "".join(f"[{name}]\nfilesystem_store_datadir = {self.path}/{name}\n\n" for name in STORES)
        backends = ", ".join(f"{name}:file" for name in STORES)
        self._write(_TEXT.format(mark=MARK, backends=backends, folder=self.path, stores=stores.rstrip("\n") + "\n"))

    def _write(self, text: str) -> None:
        passing = self.path / f"{_OURS}conf.part"
        passing.write_text(text)
        os.replace(passing, self.config)


def _with_line(text: str, name: str, values: list[Any]) -> str:
    """Return the configuration with one list replaced, or added at the end where it has been taken out."""
    line = f"{name} = [{', '.join(map(str, values))}]"
    pattern = re.compile(rf"^{name}[ \t]*=.*$", re.MULTILINE)
    if pattern.search(text):
        return pattern.sub(lambda match: line, text, count=1)
    return f"{text}\n[import_filtering_opts]\n{line}\n"
