"""What an import costs besides moving bytes: that of an empty image, in a process that has done some before.

Run it with ``python -m benchmarks.empty_import``; it prints one JSON object.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import event

from glance_flows.flows import import_image
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.testing.world import World, make_conf

WARM_UP, IMPORTS = 10, 50


class _Statements:
    """Counts the statements of an engine and the CPU time that the database takes for them."""

    def __init__(self, engine: Any) -> None:
        self.count, self.seconds = 0, 0.0
        self._started = threading.local()
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(self, *about: Any) -> None:
        self._started.at = time.thread_time()

    def _after(self, *about: Any) -> None:
        self.count += 1
        self.seconds += time.thread_time() - self._started.at


def measure(imports: int = IMPORTS) -> dict[str, Any]:
    """Import empty images by ``glance-direct`` into one file store on SQLite; return medians, times in milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        services = Services.from_conf(make_conf(Path(directory)))
        world = World(services)
        statements = _Statements(services.db.engine.engine)
        rows = []
        with Runner(services) as runner:
            for _ in range(WARM_UP + imports):
                image_id = world.image()
                world.stage(image_id, b"")
                before, waited = (statements.count, statements.seconds), time.perf_counter()
                cpu = time.process_time()
                runner.run(import_image(image_id, method="glance-direct"))
                cpu = time.process_time() - cpu
                wall = time.perf_counter() - waited
                rows.append((cpu, wall, statements.count - before[0], statements.seconds - before[1]))
        bare = _engine_alone()
    cpu, wall, count, inside = (statistics.median(column) for column in zip(*rows[WARM_UP:], strict=True))
    return {
        "imports": imports,
        "cpu_ms": round(cpu * 1e3, 1),
        "wall_ms": round(wall * 1e3, 1),
        "statements": int(count),
        "cpu_ms_in_statements": round(inside * 1e3, 1),
        "cpu_ms_of_taskflow_alone": round(bare * 1e3, 1),
    }


def _engine_alone() -> float:
    """Return what taskflow takes for a flow of as many tasks, which do nothing; median of 50, in seconds."""
    from concurrent.futures import ThreadPoolExecutor

    from taskflow import engines, task
    from taskflow.patterns import linear_flow

    class Idle(task.Task):  # type: ignore[misc]
        def execute(self) -> None:
            pass

    times = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(WARM_UP + 50):
            cpu = time.process_time()
            flow = linear_flow.Flow("idle").add(*(Idle(f"idle-{number}") for number in range(9)))
            engines.load(flow, engine="parallel", executor=pool).run()
            times.append(time.process_time() - cpu)
    return statistics.median(times[WARM_UP:])


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    print()
