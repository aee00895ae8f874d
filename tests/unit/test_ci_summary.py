"""The counts of continuous integration: a failure that is not counted is a failure nobody sees."""

import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
from typing import Any

from tests import base, source

_spec = importlib.util.spec_from_file_location("ci_summary", source.ROOT / ".ci" / "summary.py")
assert _spec is not None and _spec.loader is not None
summary = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = summary
_spec.loader.exec_module(summary)

STESTR = """
Ran 2 tests in 0.1s
======
Totals
======
Ran: 9 tests in 1.2345 sec.
 - Passed: 4
 - Skipped: 2
 - Expected Fail: 1
 - Unexpected Success: 1
 - Failed: 1
Sum of execute time for each test: 1.0 sec.
"""

UNITTEST = """
Ran 9 tests in 0.100s

FAILED (failures=1, errors=2, skipped=3, expected failures=1)
"""


def tox(success: bool, *outputs: str) -> dict[str, Any]:
    """One environment as tox reports it."""
    return {
        "result": {"success": success, "duration": 1.0},
        "test": [{"command": [], "output": "", "err": text} for text in outputs],
    }


class CountTest(base.TestCase):
    def test_stestr(self) -> None:
        self.assertEqual((5, 2, 2), summary.count(STESTR))

    def test_unittest(self) -> None:
        self.assertEqual((3, 3, 3), summary.count(UNITTEST))
        self.assertEqual((1, 0, 0), summary.count("\nRan 1 test in 0.1s\n\nOK\n"))

    def test_no_tests(self) -> None:
        self.assertEqual((0, 0, 0), summary.count("Success: no issues found"))


class MainTest(base.TestCase):
    def run_main(self, environments: dict[str, Any] | None, *checks: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch, "tox.json")
            if environments is not None:
                path.write_text(json.dumps({"testenvs": {".pkg": {}, **environments}}))
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                status = summary.main(str(path), *checks)
        return status, printed.getvalue().splitlines()[-1]

    def test_sums_up(self) -> None:
        environments = {"py3": tox(True, "\nRan 7 tests in 1s\n\nOK\n"), "lint": tox(True, "", "")}
        self.assertEqual((0, "9 passed, 0 failed"), self.run_main(environments, "quickstart=0", "tox=0"))

    def test_failures(self) -> None:
        environments = {"py3": tox(False, UNITTEST), "lint": tox(False)}
        self.assertEqual((1, "3 passed, 5 failed"), self.run_main(environments, "quickstart=1", "tox=1"))

    def test_an_environment_that_broke_after_its_tests(self) -> None:
        environments = {"py3": tox(False, "\nRan 7 tests in 1s\n\nOK\n")}
        self.assertEqual((1, "8 passed, 1 failed"), self.run_main(environments, "quickstart=0", "tox=1"))

    def test_tox_did_not_run(self) -> None:
        self.assertEqual((1, "1 passed, 1 failed"), self.run_main(None, "quickstart=0", "tox=2"))
        self.assertEqual(1, self.run_main(None, "quickstart=0", "tox=0")[0])
