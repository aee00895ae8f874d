"""Hold the scrubber up against Glance's own: thousands of small pending images, on each database, with several pools.

Run it with ``python -m benchmarks.scrub`` in an environment with the ``test`` extra. ``--glance-python``, or the
environment variable ``GLANCE_FLOWS_GLANCE_PYTHON``, names an interpreter that has Glance; without one that comparison
is left out. Databases that cannot be reached are left out too.

Every figure is of a whole process, its start included, with a database and a folder made afresh; the two scrubbers take
turns. A pass with nothing to do is measured as well: without what that takes, the rates are those of the work alone.
Both processes count their statements by the same listener (:mod:`benchmarks.counted`).
"""

import argparse
import compileall
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.measure import MIB
from glance_flows import opts
from glance_flows.db import migrate, models
from glance_flows.db.engine import Engine
from tests.interop.databases import Database, ServiceMissingError

TREE = Path(__file__).resolve().parent.parent
OURS, GLANCE = "glance_flows.cli.scrubber", "glance.cmd.scrubber"
SIZE = 4096
BATCH = 1000
FASTER, STATEMENTS, SAFE_POOL = 20.0, 0.5, 16
CONF = """\
[DEFAULT]
enabled_backends = s1:file
delayed_delete = true
scrub_time = 0
scrub_pool_size = {pool}
[database]
connection = {url}
[glance_store]
default_backend = s1
[s1]
filesystem_store_datadir = {root}/s1
[os_glance_staging_store]
filesystem_store_datadir = {root}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {root}/tasks
[glance_flows]
state_path = {root}/state
"""


@dataclass(frozen=True)
class Pass:
    """What one pass took and left behind."""

    images: int
    status: int
    wall: float
    cpu: float
    statements: int
    bounds: int
    peak_rss: int
    images_left: int = 0
    locations_left: int = 0
    files_left: int = 0

    @property
    def clean(self) -> bool:
        """Whether it did all that there was to do."""
        return not (self.status or self.images_left or self.locations_left or self.files_left)


class Site:
    """A database and a folder with pending images, made for one pass.

    :param root: an empty folder
    :param backend: ``sqlite``, ``postgresql`` or ``mysql``
    """

    def __init__(self, root: Path, backend: str, images: int, pool: int) -> None:
        self.root, self.images = root, images
        self.database = Database(backend, root)
        self.conf_file = root / "glance-scrubber.conf"
        self._pool = pool

    def __enter__(self) -> "Site":
        for name in ("s1", "staging", "tasks", "state"):
            (self.root / name).mkdir()
        self.database.setUp()
        url = self.database.url.replace("$", "$$")
        self.conf_file.write_text(CONF.format(pool=self._pool, url=url, root=self.root))
        engine = Engine(opts.load([self.conf_file]))
        migrate.sync(engine)
        for start in range(0, self.images, BATCH):
            self._fill(engine, min(BATCH, self.images - start))
        if self.database.backend == "postgresql":
            # A database in use has long been looked at; a new one would be planned for in the dark.
            with engine.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("ANALYZE"))
        engine.dispose()
        os.sync()
        return self

    def __exit__(self, *exc: object) -> None:
        self.database.cleanUp()

    def _fill(self, engine: Engine, count: int) -> None:
        """Add images with one file, two properties and a tag each, deleted an hour ago as a Glance API deletes them."""
        then = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(hours=1)
        gone = {"created_at": then, "updated_at": then, "deleted_at": then, "deleted": True}
        ids = [str(uuid.uuid4()) for _ in range(count)]
        image = {"name": "image", "size": SIZE, "disk_format": "raw", "container_format": "bare", "owner": "owner"}
        image |= {"status": "pending_delete", "visibility": "shared", "min_disk": 0, "min_ram": 0, "protected": False}
        image |= {"os_hidden": False}
        place = {"meta_data": {"store": "s1"}, "status": "pending_delete"}
        block = os.urandom(SIZE)
        for each in ids:
            (self.root / "s1" / each).write_bytes(block)
        rows = {
            models.images: [{"id": each, **image, **gone} for each in ids],
            models.image_locations: [
                {"image_id": each, "value": f"file://{self.root}/s1/{each}", **place, **gone} for each in ids
            ],
            models.image_properties: [
                {"image_id": each, "name": name, "value": "any", **gone} for each in ids for name in ("os", "arch")
            ],
            models.image_tags: [{"image_id": each, "value": "tag", **gone} for each in ids],
        }
        for table, values in rows.items():
            engine.write(lambda connection, t=table, v=values: connection.execute(sa.insert(t), v))  # type: ignore[misc]

    def measure(self, python: str, module: str) -> Pass:
        """Run one pass of a scrubber and look at what it left."""
        report = self.root / "report.json"
        command = [python, "-W", "ignore", str(Path(__file__).with_name("counted.py")), str(report), module]
        command += ["--config-file", str(self.conf_file)]
        paths = os.pathsep.join([str(TREE), os.environ.get("PYTHONPATH", "")])
        with (self.root / "log").open("wb") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.root, env={**os.environ, "PYTHONPATH": paths}
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if not report.exists():
            raise RuntimeError(f"{module} did not run:\n{(self.root / 'log').read_text()[-4000:]}")
        told = json.loads(report.read_text())
        cpu = used.ru_utime + used.ru_stime
        return Pass(self.images, process.returncode, wall, cpu, **told, **self._left())

    def _left(self) -> dict[str, int]:
        pending = "SELECT count(*) AS n FROM {} WHERE status = 'pending_delete'"
        rows = {part: self.database.rows(pending.format(part))[0]["n"] for part in ("images", "image_locations")}
        files = len(os.listdir(self.root / "s1"))
        return {"images_left": rows["images"], "locations_left": rows["image_locations"], "files_left": files}


class Bench:
    """The measurements that were asked for."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.sides = {"ours": (sys.executable, OURS)}
        if asked.glance_python:
            self.sides = {"glance": (asked.glance_python, GLANCE), **self.sides}

    def run(self) -> dict[str, Any]:
        """Run them all and return the results."""
        # What an installer puts in place is compiled, a working tree perhaps not: ours would compile it in every pass.
        compileall.compile_dir(TREE / "glance_flows", quiet=1)
        results: dict[str, Any] = {"images": self.asked.images, "missing": {}, "passes": []}
        for backend in self.asked.databases:
            try:
                empty = self._turns(backend, 0, 1)
                for pool in self.asked.pools:
                    results["passes"].append(_told(backend, pool, self._turns(backend, self.asked.images, pool), empty))
            except ServiceMissingError as missing:
                results["missing"][backend] = str(missing)
        return results

    def _turns(self, backend: str, images: int, pool: int) -> dict[str, Pass]:
        """Measure both sides, one after the other; of several rounds each side's fastest."""
        found: dict[str, Pass] = {}
        for _ in range(self.asked.rounds if images else 2):
            for side, done in self._round(backend, images, pool):
                known = found.get(side)
                found[side] = done if known is None or (done.clean, -done.wall) > (known.clean, -known.wall) else known
        return found

    def _round(self, backend: str, images: int, pool: int) -> Iterator[tuple[str, Pass]]:
        for side, (python, module) in self.sides.items():
            with (
                tempfile.TemporaryDirectory(prefix="glance-flows-bench-", dir=self.asked.directory) as root,
                Site(Path(root), backend, images, pool) as site,
            ):
                done = site.measure(python, module)
            said = f"{backend}, {images} images, pool of {pool}: {side} {done.wall:.2f} s"
            print(said, file=sys.stderr, flush=True)
            yield side, done


def _told(backend: str, pool: int, passes: dict[str, Pass], empty: dict[str, Pass]) -> dict[str, Any]:
    """Return what is to be said of one database and one pool."""
    told: dict[str, Any] = {"database": backend, "pool": pool, "ratios": {}, "targets": {}}
    for side, done in passes.items():
        told[side] = {**asdict(done), "empty": asdict(empty[side]), **_rates(done, empty[side])}
    ours = told["ours"]
    if "glance" in told:
        names = ("rate", "rate_of_work", "cpu_ms", "cpu_ms_of_work", "statements_each", "peak_rss")
        told["ratios"] = {name: round(ours[name] / told["glance"][name], 4) for name in names}
        if backend != "sqlite" and pool == 4:
            told["targets"][f"{FASTER:g} times Glance's rate"] = told["ratios"]["rate"] >= FASTER
    told["targets"][f"at most {STATEMENTS:g} statements an image"] = ours["statements_each"] <= STATEMENTS
    if backend == "sqlite" and pool == SAFE_POOL:
        told["targets"]["no failed image"] = passes["ours"].clean
    return told


def _rates(done: Pass, empty: Pass) -> dict[str, float]:
    """Return what can be compared, of images that were done; once as it is, once without the start and the end."""
    images = max(1, done.images - done.images_left)
    # An empty pass that met a busier moment tells nothing: then nothing is left out.
    work, cpu = (
        spent - start if spent > 1.1 * start else spent
        for spent, start in ((done.wall, empty.wall), (done.cpu, empty.cpu))
    )
    return {
        "rate": round(images / done.wall, 1),
        "rate_of_work": round(images / work, 1),
        "cpu_ms": round(1e3 * done.cpu / images, 3),
        "cpu_ms_of_work": round(1e3 * cpu / images, 3),
        "statements_each": round((done.statements + done.bounds) / images, 3),
        "bounds_each": round(done.bounds / images, 3),
    }


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"\n{results['images']} pending images of {SIZE // 1024} KiB; in brackets what the work alone took, without")
    print("the start of the process; statements are all the database is told, in brackets what bounds transactions")
    head = ("database", "pool", "who", "images/s", "CPU ms/image", "stmts (BEGIN…)", "peak MiB", "left behind")
    print("{:<11}{:>5}  {:<7}{:>19}{:>17}{:>17}{:>10}  {}".format(*head))
    for told in results["passes"]:
        for side in ("glance", "ours"):
            if side in told:
                print(_line(told, side))
        if told["ratios"]:
            print(f"{'':18}ratios: " + ", ".join(f"{name} {value:.3g}" for name, value in told["ratios"].items()))
        for target, met in told["targets"].items():
            print(f"{'':18}target {target}: {'met' if met else 'MISSED'}")
    for backend, why in results["missing"].items():
        print(f"{backend} is left out: {why}")


def _line(told: dict[str, Any], side: str) -> str:
    row = told[side]
    left = f"{row['images_left']} images, {row['locations_left']} locations, {row['files_left']} files"
    rate, cpu = f"{row['rate']} ({row['rate_of_work']})", f"{row['cpu_ms']} ({row['cpu_ms_of_work']})"
    said = f"{row['statements_each']} ({row['bounds_each']})"
    status = f", status {row['status']}" if row["status"] else ""
    return (
        f"{told['database']:<11}{told['pool']:>5}  {side:<7}{rate:>19}{cpu:>17}"
        f"{said:>17}{row['peak_rss'] // MIB:>10}  {left}{status}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the measurements and print them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrub", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="how many pending images (default: 1000)")
    parser.add_argument("--pools", type=int, nargs="+", default=[1, 4, 16], help="scrub_pool_size (default: 1 4 16)")
    parser.add_argument(
        "--databases", nargs="+", default=["sqlite", "postgresql", "mysql"], help="which (default: all three)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="rounds, of which the fastest counts (default: 1)")
    parser.add_argument(
        "--glance-python", default=os.environ.get("GLANCE_FLOWS_GLANCE_PYTHON"), help="an interpreter that has Glance"
    )
    parser.add_argument("--directory", type=Path, help="where the data goes (default: temporary)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args(arguments)
    if asked.glance_python and not shutil.which(asked.glance_python):
        parser.error(f"there is no interpreter {asked.glance_python}")
    results = Bench(asked).run()
    if asked.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
