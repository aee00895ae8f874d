"""Add up what tox ran: a table of environments and one line of counts.

Usage: summary.py TOX_RESULT_JSON quickstart=STATUS tox=STATUS
"""

import dataclasses
import json
import pathlib
import re
import sys

# One pattern finds a number in a stestr summary, the other in a unittest one.
_STESTR = r"^ - {}: (\d+)$"
_UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_UNITTEST_END = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclasses.dataclass
class Row:
    """One line of the table."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def count(output: str) -> tuple[int, int, int]:
    """Tests passed, failed and skipped in the output of stestr or unittest."""
    if "\nTotals\n" in output:
        totals = output[output.rindex("\nTotals\n") :]

        def number(word: str) -> int:
            found = re.search(_STESTR.format(word), totals, re.MULTILINE)
            return int(found[1]) if found else 0

        failed = number("Failed") + number("Unexpected Success")
        return number("Passed") + number("Expected Fail"), failed, number("Skipped")
    ran = sum(int(n) for n in _UNITTEST_RAN.findall(output))
    counts: dict[str, int] = {}
    for details in _UNITTEST_END.findall(output):
        for word, value in re.findall(r"([a-z ]+)=(\d+)", details):
            counts[word.strip()] = counts.get(word.strip(), 0) + int(value)
    failed = sum(counts.get(w, 0) for w in ("failures", "errors", "unexpected successes"))
    skipped = counts.get("skipped", 0)
    return ran - failed - skipped, failed, skipped


def environment(name: str, result: dict) -> Row:
    """The row of one tox environment; one without tests is one check."""
    row = Row(name, seconds=result["result"].get("duration", 0.0))
    for command in result.get("test", []):
        output = _COLOUR.sub("", f"\n{command['output']}\n{command['err']}").replace("\r", "")
        passed, failed, skipped = count(output)
        row.passed += passed
        row.failed += failed
        row.skipped += skipped
    if not result["result"]["success"]:
        row.failed = max(row.failed, 1)
    elif not row.passed + row.skipped:
        row.passed = 1
    return row


def main(path: str, *checks: str) -> int:
    """Print the table and the counts; return the exit status."""
    status = {name: int(value) for name, _, value in (c.partition("=") for c in checks)}
    ok = status["quickstart"] == 0
    rows = [Row("quickstart", passed=int(ok), failed=int(not ok))]
    report = pathlib.Path(path)
    results = json.loads(report.read_text())["testenvs"] if report.exists() else {}
    rows += [environment(n, r) for n, r in results.items() if "result" in r]
    if status["tox"] and not any(row.failed for row in rows[1:]):
        rows.append(Row("tox", failed=1))
    print(f"\n{'environment':<16}{'':<8}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}")
    for row in rows:
        word = "failed" if row.failed else "ok"
        print(f"{row.name:<16}{word:<8}{row.passed:>8}{row.failed:>8}{row.skipped:>8}{row.seconds:>9.0f}")
    passed, failed = sum(r.passed for r in rows), sum(r.failed for r in rows)
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
