"""The base of every test: our own warnings are errors, other people's are not ours to mend."""

import warnings

import testtools
from sqlalchemy import exc as sa_exc

_OURS = r"(glance_flows|glance_flows_plugins|tests)(\.|$)"


def warnings_are_errors() -> None:
    """Turn every warning that our code causes into an exception.

    A warning is ours when it is attributed to one of our modules, or when it is SQLAlchemy's: its
    warnings speak of the statements it was given, wherever they are attributed.
    """
    warnings.filterwarnings("error", module=_OURS)
    warnings.filterwarnings("error", category=sa_exc.SADeprecationWarning)
    warnings.filterwarnings("error", category=sa_exc.SAWarning)
    # oslo.db rolls a read back a second time when the connection was lost before the first.
    warnings.filterwarnings("ignore", message="transaction already deassociated", category=sa_exc.SAWarning)
    # taskflow.engines imports oslo_utils.eventletutils, which announces its removal on every import.
    warnings.filterwarnings("ignore", message=".*eventletutils.*", category=DeprecationWarning)


class TestCase(testtools.TestCase):
    """A test whose warnings are errors, whatever filters the runner has set."""

    def setUp(self) -> None:
        super().setUp()
        caught = warnings.catch_warnings()
        caught.__enter__()
        self.addCleanup(caught.__exit__, None, None, None)
        warnings_are_errors()
