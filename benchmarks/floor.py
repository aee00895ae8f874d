"""The work that has to be done, by the tools that do nothing else: ``cp``, ``md5sum`` and ``sha512sum``."""

from pathlib import Path

from benchmarks.measure import Cost, commands, settle


def one_after_the_other(source: Path, directory: Path, copies: int) -> Cost:
    """Digest a file once and copy it so many times, each command after the one before.

    The sums come first, as in an import: memory that was free when they began may be taken when the copies do.
    """
    targets = _targets(source, directory, copies)
    cost = commands(["md5sum", source]) + commands(["sha512sum", source])
    for target in targets:
        cost += commands(["cp", source, target])
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
    settle(source, copies)
    return [directory / f"copy-{number}" for number in range(copies)]


def _remove(targets: list[Path]) -> None:
    for target in targets:
        target.unlink()
