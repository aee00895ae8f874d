"""The work that has to be done, by the tools that do nothing else: ``cp``, ``md5sum`` and ``sha512sum``."""

from pathlib import Path

from benchmarks.measure import Cost, commands, settle


def one_after_the_other(source: Path, directory: Path, copies: int) -> Cost:
    """Copy a file so many times and digest it once, each command after the one before."""
    targets = _targets(source, directory, copies)
    cost = commands(["cp", source, targets[0]])
    for target in targets[1:]:
        cost += commands(["cp", source, target])
    for tool in ("md5sum", "sha512sum"):
        cost += commands([tool, source])
    _remove(targets)
    return cost


def side_by_side(source: Path, directory: Path, copies: int) -> Cost:
    """The same with both sums at once, then all copies at once: what nobody who verifies first can be faster than."""
    targets = _targets(source, directory, copies)
    cost = commands(["md5sum", source], ["sha512sum", source])
    cost += commands(*(["cp", source, target] for target in targets))
    _remove(targets)
    return cost


def _targets(source: Path, directory: Path, copies: int) -> list[Path]:
    settle(source, directory, copies)
    return [directory / f"copy-{number}" for number in range(copies)]


def _remove(targets: list[Path]) -> None:
    for target in targets:
        target.unlink()
