"""The log of a command: one line an event on standard error."""

import logging
import sys
import warnings
from typing import TextIO

from glance_flows import errors


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at the moment: progress bars stand in for it while they are shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error."""
        return sys.stderr


class _OneLine(logging.Formatter):
    """One line a record, without tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = " ".join(record.getMessage().split())
        return errors.redact(f"{record.levelname.lower()}: {text}")


def configure(*, verbose: bool, quiet: bool, debug: bool) -> None:
    """Set the log up: warnings and errors, or as the options say."""
    handler = _Handler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if debug else _OneLine())
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("alembic").setLevel(logging.DEBUG if debug else logging.WARNING)
    if not debug:
        # They announce the errors that they hand on, and those are told already.
        for name in ("oslo_db.sqlalchemy.exc_filters", "stevedore"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")
