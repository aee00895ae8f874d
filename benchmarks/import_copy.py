"""Hold imports and copies up against the work that has to be done, and against the Glance API doing the same.

Run it with ``python -m benchmarks.import_copy`` in an environment with the ``test`` extra. ``--glance-python``, or the
environment variable ``GLANCE_FLOWS_GLANCE_PYTHON``, names an interpreter that has Glance; without one that comparison
is left out.

Every figure is a whole process or is measured inside one of its own, and all of them take turns, so that a ratio
compares what ran on the machine at about the same time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import floor
from benchmarks.glance_api import serve_file, write_random
from benchmarks.measure import MIB, Cost, best, median, ratio

TREE = Path(__file__).resolve().parent.parent
TARGETS = {"floor": 1.0, "glance": 0.25}
MEMORY_LIMIT_MIB = 150
EMPTY_LIMIT_MS = 50.0


class Bench:
    """The measurements of one image size in one folder."""

    def __init__(self, directory: Path, size_mib: int, glance: str | None) -> None:
        self.directory, self.size_mib, self.glance = directory, size_mib, glance
        self.source = write_random(directory / "source", size_mib * MIB)
        self.small = write_random(directory / "small", 1)

    def workload(self, what: str, source: Path | None = None, *options: str) -> Cost:
        """Run one import or copy by the library in a child process."""
        with tempfile.TemporaryDirectory(dir=self.directory) as root, ExitStack() as servers:
            if what == "download":
                ports = (servers.enter_context(serve_file(path)) for path in (self.source, self.small))
                options += tuple(f"--{name}={port}" for name, port in zip(("port", "warm-port"), ports, strict=True))
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.workload", what, root]
            return Cost(**_json_of([*command, str(source or self.source), *options]))

    def glance_api(self, what: str) -> Cost:
        """Run the same by a real Glance API."""
        command = [str(self.glance), "-W", "ignore", "-m", "benchmarks.glance_api", "--json", "--only", what]
        (told,) = _json_of([*command, "--size-mib", str(self.size_mib), "--directory", str(self.directory)])
        return Cost(told["wall_seconds"], told["cpu_seconds"], told["peak_rss_bytes"])

    def compare(self, what: str, copies: int, rounds: int, glance_rounds: int) -> dict[str, list[Cost]]:
        """Measure everything there is to say about a copy or a download, in turns."""
        work: dict[str, Callable[[], Cost]] = {
            "floor": lambda: floor.one_after_the_other(self.source, self.directory, copies),
            "ours": lambda: self.workload(what),
            "side by side": lambda: floor.side_by_side(self.source, self.directory, copies),
        }
        program = Path(sys.executable).with_name("glance-flows")
        if what == "copy" and program.exists():
            work["command"] = lambda: self.workload("command", None, f"--program={program}")
        found: dict[str, list[Cost]] = {name: [] for name in (*work, "glance")}
        for number in range(rounds):
            for name, run in work.items():
                found[name].append(run())
                print(f"{what}, round {number + 1}: {name} {found[name][-1].wall:.2f} s", file=sys.stderr)
            if self.glance and number < glance_rounds:
                found["glance"].append(self.glance_api(what))
        return {name: costs for name, costs in found.items() if costs}

    def memory(self) -> dict[int, int]:
        """Return the peak of memory of copies of images of 64 MiB to 4 GiB by size, both in MiB."""
        sizes = (64, 1024, 4096)
        return {size: self.workload("copy", self._sparse(size), "--thin").peak_rss // MIB for size in sizes}

    def _sparse(self, size_mib: int) -> Path:
        path = self.directory / "sparse"
        path.unlink(missing_ok=True)
        path.touch()
        os.truncate(path, size_mib * MIB)
        return path


def summary(found: dict[str, list[Cost]], size_mib: int) -> dict[str, Any]:
    """Return the medians, and the ratios of ours to everything else."""
    told: dict[str, Any] = {"rounds": len(found["ours"]), "ratios": {}}
    told["medians"] = {name: median(costs).to_json() for name, costs in found.items()}
    told["best"] = {name: best(costs).to_json() for name, costs in found.items()}
    for name, costs in found.items():
        if name not in ("ours", "command"):
            told["ratios"][name] = _ratios(found["ours"], costs)
    if "command" in found:
        told["ratios"]["command to floor"] = _ratios(found["command"], found["floor"])
    told["mib_per_second"] = round(size_mib / median(found["ours"]).wall)
    return told


def _ratios(ours: list[Cost], theirs: list[Cost]) -> dict[str, float]:
    least, other = best(ours), best(theirs)
    found = {"wall": ratio(ours, theirs), "cpu": ratio(ours, theirs, "cpu")}
    found |= {"best_wall": least.wall / other.wall, "best_cpu": least.cpu / other.cpu}
    return {name: round(value, 3) for name, value in found.items()}


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    for what, told in results["comparisons"].items():
        print(f"\n{what} of {results['size_mib']} MiB, medians of {told['rounds']} rounds")
        print(f"  {'':16}{'wall s':>9}{'cpu s':>9}{'best wall':>11}{'best cpu':>10}{'peak MiB':>10}")
        for name, cost in told["medians"].items():
            peak = f"{cost['peak_rss'] // MIB:10}" if cost["peak_rss"] else ""
            least = told["best"][name]
            figures = f"{cost['wall']:9.2f}{cost['cpu']:9.2f}{least['wall']:11.2f}{least['cpu']:10.2f}"
            print(f"  {name:16}{figures}{peak}")
        for name, ratios in told["ratios"].items():
            target = f"  target {TARGETS[name]}: {_met(ratios['wall'] <= TARGETS[name])}" if name in TARGETS else ""
            label = name if " to " in name else f"ours to {name}"
            figures = f"wall {ratios['wall']:.2f} cpu {ratios['cpu']:.2f}"
            print(f"  {label:24}{figures}  best {ratios['best_wall']:.2f} and {ratios['best_cpu']:.2f}{target}")
    if not results["glance"]:
        print("\nThere is no Glance to compare with: see --glance-python.")
    for size, peak in results["memory_mib"].items():
        print(f"memory, copy of {size:>5} MiB: {peak} MiB  target {MEMORY_LIMIT_MIB}: {_met(peak < MEMORY_LIMIT_MIB)}")
    empty = results["empty_import"]
    print(f"import of an empty image: {empty['cpu_ms']} ms of CPU  target {EMPTY_LIMIT_MS}:", end=" ")
    print(_met(empty["cpu_ms"] < EMPTY_LIMIT_MS))
    print(f"  {empty['statements']} statements, {empty['cpu_ms_in_statements']} ms in them;", end=" ")
    print(f"taskflow alone {empty['cpu_ms_of_taskflow_alone']} ms; wall {empty['wall_ms']} ms")


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Run every measurement that was asked for."""
    with tempfile.TemporaryDirectory(prefix="glance-flows-bench-", dir=asked.directory) as directory:
        bench = Bench(Path(directory), asked.size_mib, asked.glance_python)
        found = {
            what: bench.compare(what, copies, asked.rounds, asked.glance_rounds)
            for what, copies in (("copy", 2), ("download", 4))
        }
        memory = bench.memory()
    return {
        "size_mib": asked.size_mib,
        "glance": bool(asked.glance_python),
        "comparisons": {what: summary(costs, asked.size_mib) for what, costs in found.items()},
        "memory_mib": memory,
        "empty_import": _json_of([sys.executable, "-W", "ignore", "-m", "benchmarks.empty_import"]),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the measurements and print them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the image, in MiB (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which medians are taken (default: 3)")
    parser.add_argument("--glance-rounds", type=int, default=1, help="in how many of them Glance runs (default: 1)")
    parser.add_argument(
        "--glance-python", default=os.environ.get("GLANCE_FLOWS_GLANCE_PYTHON"), help="an interpreter that has Glance"
    )
    parser.add_argument("--directory", type=Path, help="where the data goes (default: temporary)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    asked = parser.parse_args(arguments)
    if asked.glance_python and not shutil.which(asked.glance_python):
        parser.error(f"there is no interpreter {asked.glance_python}")
    results = run(asked)
    if asked.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)
    return 0


def _json_of(command: list[str]) -> Any:
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def _met(good: bool) -> str:
    return "met" if good else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
