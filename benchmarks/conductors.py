"""Hold posted runs up against the same runs in one process: jobs a second with several conductors, and their CPU.

Run it with ``python -m benchmarks.conductors`` in an environment with the ``test`` extra and a Redis. Databases that
cannot be reached are left out.

The conductors are those that ``glance-flows conductor`` starts, all on this machine, so that more of them than it has
cores can only show what they cost each other. They are started, have done a few jobs, and stand still while the jobs
are posted; the clock runs from when they go on until the last job is over. The alternative, ``runner.submit`` in one
process, has done a few as well. The CPU is that of the processes that do the work, not of the servers.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import Cost
from benchmarks.submitted import FLOWS, WARM, spec_of
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.testing.world import World, make_conf
from tests.interop.databases import Database, ServiceMissingError

TREE = Path(__file__).resolve().parent.parent
REDIS = os.environ.get("GLANCE_FLOWS_TEST_REDIS", "redis://127.0.0.1:6379")
SIZE = 4096
STORES = ("s1", "s2")
PATIENCE = 300.0


class Site:
    """A cloud on this machine: two databases, a board, and stores in a folder.

    :param root: an empty folder
    :param backend: ``sqlite`` or ``postgresql``
    """

    def __init__(self, root: Path, backend: str) -> None:
        self.root = root
        self._databases = [Database(backend, _made(root / name)) for name in ("glance", "flows")]
        self._board = f"bench-{uuid.uuid4().hex}"
        self._close = contextlib.ExitStack()

    def __enter__(self) -> "Site":
        with contextlib.ExitStack() as opened:
            for database in self._databases:
                database.setUp()
                opened.callback(database.cleanUp)
            glance, flows = (database.url for database in self._databases)
            own = {"state_path": self.root / "state", "jobboard_url": REDIS, "jobboard_name": self._board}
            own |= {"persistence_connection": flows}
            self.services = Services.from_conf(make_conf(self.root, *STORES, connection=glance, glance_flows=own))
            self.world = World(self.services)
            self.services.persistence.sync()
            self.runner = Runner(self.services)
            opened.callback(self.runner.close)
            opened.callback(self._forget)
            self._close = opened.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close.close()

    def _forget(self) -> None:
        import redis

        with contextlib.closing(redis.Redis.from_url(REDIS)) as client:
            for key in client.scan_iter(f"{self._board}*"):
                client.delete(key)

    @property
    def conf_file(self) -> Path:
        """The configuration."""
        return self.root / "glance-flows.conf"

    def images(self, count: int) -> list[str]:
        """Make images with a little data in the first store."""
        return [self.world.image(os.urandom(SIZE)) for _ in range(count)]

    def submitted(self, count: int) -> dict[str, Cost]:
        """Measure the runs in one process that needs no board, each flow on as many images."""
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.submitted", str(self.conf_file)]
        images = json.dumps(self.images(count + WARM))
        done = subprocess.run(command, cwd=TREE, input=images, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"benchmarks.submitted failed:\n{done.stderr[-4000:]}")
        return {flow: Cost(**told) for flow, told in json.loads(done.stdout).items()}

    def posted(self, flow: str, images: list[str]) -> float:
        """Post runs and return how many seconds that took."""
        began = time.perf_counter()
        for image_id in images:
            self.runner.post(spec_of(flow, image_id))
        return time.perf_counter() - began

    def over(self, count: int) -> None:
        """Wait until so many posted runs in all have ended well."""
        end = time.monotonic() + PATIENCE
        postings = self.services.persistence.postings
        while (done := postings.count("success")) < count:
            failed = postings.count("failure")
            if failed or time.monotonic() > end:
                raise RuntimeError(f"{done} of {count} runs are done, {failed} have failed")
            time.sleep(0.02)


class Conductors:
    """Real conductors at work.

    :param site: where
    :param count: how many
    """

    def __init__(self, site: Site, count: int) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "glance_flows.cli.main", "--quiet"]
        command += ["--config-file", str(site.conf_file), "conductor"]
        self._site, self._count = site, count
        self._masters = [subprocess.Popen(command, cwd=TREE, stderr=subprocess.DEVNULL) for _ in range(count)]

    def __enter__(self) -> "Conductors":
        end = time.monotonic() + PATIENCE
        while len(self._site.services.persistence.conductors.all()) < self._count:
            if time.monotonic() > end:
                raise RuntimeError("the conductors do not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *exc: object) -> None:
        self.tell(signal.SIGCONT)
        for master in self._masters:
            master.terminate()
        for master in self._masters:
            master.wait(PATIENCE)

    def processes(self) -> list[Any]:
        """Return every process."""
        masters = [psutil.Process(master.pid) for master in self._masters]
        return [*masters, *(child for master in masters for child in master.children(recursive=True))]

    def tell(self, signum: int) -> None:
        """Send a signal to every process."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    def cpu(self) -> float:
        """Return the seconds of CPU that they have used."""
        return sum(process.cpu_times().user + process.cpu_times().system for process in self.processes())


class Bench:
    """The measurements that were asked for."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked

    def run(self) -> dict[str, Any]:
        """Run them all and return the results."""
        results: dict[str, Any] = {"jobs": self.asked.jobs, "cores": os.cpu_count(), "missing": {}, "rows": []}
        for backend in self.asked.databases:
            with tempfile.TemporaryDirectory(prefix="glance-flows-bench-", dir=self.asked.directory) as root:
                try:
                    site = Site(Path(root), backend)
                    with site:
                        results["rows"] += list(self._rows(site, backend))
                except ServiceMissingError as missing:
                    results["missing"][backend] = str(missing)
        return results

    def _rows(self, site: Site, backend: str) -> Iterator[dict[str, Any]]:
        jobs = self.asked.jobs
        alone = site.submitted(jobs)
        for flow, cost in alone.items():
            yield {"database": backend, "flow": flow, "conductors": 0, **_told(cost, jobs)}
        done = 0
        for count in self.asked.conductors:
            with Conductors(site, count) as conductors:
                done = self._warm(site, done, 2 * count)
                images = site.images(jobs)
                for flow in FLOWS:
                    cost, posting = self._measure(site, conductors, flow, images, done + jobs)
                    done += jobs
                    ratios = {"rate_ratio": round(alone[flow].wall / cost.wall, 3)}
                    ratios |= {"cpu_ratio": round(cost.cpu / alone[flow].cpu, 3)}
                    told = {**_told(cost, jobs), **ratios, "posts_per_second": round(jobs / posting, 1)}
                    print(f"{backend}, {flow}, {count} conductors: {cost.wall:.2f} s", file=sys.stderr, flush=True)
                    yield {"database": backend, "flow": flow, "conductors": count, **told}

    @staticmethod
    def _warm(site: Site, done: int, count: int) -> int:
        site.posted(FLOWS[-1], site.images(count))
        site.over(done + count)
        return done + count

    @staticmethod
    def _measure(site: Site, conductors: Conductors, flow: str, images: list[str], total: int) -> tuple[Cost, float]:
        conductors.tell(signal.SIGSTOP)
        posting = site.posted(flow, images)
        before, began = conductors.cpu(), time.perf_counter()
        conductors.tell(signal.SIGCONT)
        site.over(total)
        return Cost(time.perf_counter() - began, conductors.cpu() - before), posting


def _told(cost: Cost, jobs: int) -> dict[str, float]:
    return {"jobs_per_second": round(jobs / cost.wall, 1), "cpu_ms_per_job": round(1e3 * cost.cpu / jobs, 1)}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def show(results: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"\n{results['jobs']} runs on images of {SIZE // 1024} KiB, on {results['cores']} cores; ratios to one process"
    )
    print("{:<11}{:<8}{:<14}{:>8}{:>12}{:>8}{:>8}{:>9}".format(
        "database", "flow", "who", "jobs/s", "CPU ms/job", "rate", "CPU", "posts/s"
    ))  # fmt: skip
    for row in results["rows"]:
        count = row["conductors"]
        who = f"{count} conductor{'s' * (count > 1)}" if count else "one process"
        line = f"{row['database']:<11}{row['flow']:<8}{who:<14}{row['jobs_per_second']:>8}{row['cpu_ms_per_job']:>12}"
        if count:
            line += f"{row['rate_ratio']:>8.2f}{row['cpu_ratio']:>8.2f}{row['posts_per_second']:>9}"
        print(line)
    for backend, why in results["missing"].items():
        print(f"{backend} is left out: {why}")


def main(arguments: list[str] | None = None) -> int:
    """Run the measurements and print them; return the exit status."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conductors", description=about)
    parser.add_argument("--jobs", type=int, default=40, help="how many runs of each flow (default: 40)")
    parser.add_argument("--conductors", type=int, nargs="+", default=[1, 2, 4], help="how many (default: 1 2 4)")
    parser.add_argument(
        "--databases", nargs="+", default=["postgresql", "sqlite"], help="which (default: postgresql sqlite)"
    )
    parser.add_argument("--directory", type=Path, help="where the data goes (default: temporary)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args(arguments)
    results = Bench(asked).run()
    if asked.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
