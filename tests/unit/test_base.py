"""The rule that every other test stands under."""

import types
import warnings

from sqlalchemy import exc as sa_exc

from tests import base


def warn_from(module: str) -> None:
    """Warn as if the line that is to blame stood in ``module``."""
    code = compile("import warnings\nwarnings.warn('old', DeprecationWarning)", module, "exec")
    exec(code, types.ModuleType(module).__dict__)


class WarningsTest(base.TestCase):
    def test_ours_are_errors(self) -> None:
        for module in ("glance_flows", "glance_flows.db.api", "glance_flows_plugins.x", "tests.y"):
            with self.subTest(module):
                self.assertRaises(DeprecationWarning, warn_from, module)

    def test_others_are_not(self) -> None:
        for module in ("glance_store.driver", "glance_flowsheet", "some.tests"):
            with self.subTest(module), warnings.catch_warnings(record=True):
                warn_from(module)  # recorded at most, never raised

    def test_what_sqlalchemy_says_of_a_statement_is(self) -> None:
        self.assertRaises(sa_exc.SAWarning, warnings.warn, "cartesian product", sa_exc.SAWarning)
