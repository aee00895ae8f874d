"""The board and the databases go away under conductors; mixed with :class:`ConductorCase`."""

import os
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from glance_flows.flows import copy_image
from glance_flows.persistence.records import POSTED, RUNNING
from tests.contract.conductors import DATA, ConductorProcess
from tests.contract.scrubbers import Proxy
from tests.contract.worlds import eventually

_PORTS = {"mysql": 3306, "postgresql": 5432}
#: How many runs a conductor of these tests works on at once, and how many there are.
AT_ONCE, RUNS = 2, 8


class Outages:
    """Two conductors with all that they can do in hand, and as much again that waits."""

    def busy(self: Any, **options: Any) -> tuple[list[ConductorProcess], list[str]]:
        """Start conductors, post runs, and wait until each conductor has its hands full; return both."""
        workers = {"taskflow_executor": {"max_workers": AT_ONCE}}
        confs = [(host, self.conf_of(host, **workers, **options)) for host in ("a", "b")]
        processes = [self.conduct_gated(host, conf) for host, conf in confs]
        self.ready(*processes)
        self.shut("s3")
        runs = [self.post() for _ in range(RUNS)]
        eventually(lambda: self.counts() == (2 * AT_ONCE, RUNS - 2 * AT_ONCE), "both have their hands full")
        eventually(lambda: len(list((self.root / "s3").iterdir())) == 2 * AT_ONCE, "all of them are in the middle")
        return processes, runs

    def post(self: Any) -> str:
        """Post a copy to the store with the gate."""
        return str(self.runner.post(copy_image(self.world.image(DATA), to=["s2", "s3"])).id)

    def counts(self: Any) -> tuple[int, int]:
        """Return how many runs are under way, and how many wait."""
        postings = self.services.persistence.postings
        return postings.count(RUNNING), postings.count(POSTED)

    def assert_each_once(self: Any, processes: list[ConductorProcess], runs: list[str]) -> None:
        """Every run succeeded, and was begun and ended by one conductor only."""
        self.over(*runs)
        self.assertWhole(*runs)
        self.assertEqual(sorted(runs), sorted(each["run"] for each in self.happened("image.import.start")))
        self.assertEqual(sorted(runs), sorted(each["run"] for each in self.happened("image.import.end")))
        self.assertEqual(2 * len(runs), len(self.happened("image.upload")))
        self.assertEqual([None, None], [process.process.poll() for process in processes])

    def test_an_emptied_board(self: Any) -> None:
        """F5: the board is a hint: what it forgot is on it again, once, and no run is begun twice or lost."""
        processes, runs = self.busy()
        self.redis.flush()
        waiting = {run for run in runs if self.record(run).state == POSTED}
        eventually(lambda: self.services.board.names() == waiting, "what waits is on the board again")
        self.open("s3")
        self.assert_each_once(processes, runs)

    def test_a_board_that_went_away(self: Any) -> None:
        """F5: Redis dies and comes back with nothing; runs in hand go on meanwhile, and new ones can be posted."""
        processes, runs = self.busy()
        self.redis.kill()
        for process in processes:
            process.says("renewal of claims: the jobboard")
        running = [run for run in runs if self.record(run).state == RUNNING]
        runs.append(self.post())
        self.open("s3")
        self.over(*running)
        self.assertEqual(len(runs) - len(running), self.services.persistence.postings.count(POSTED))
        self.redis.start()
        self.assert_each_once(processes, runs)

    @staticmethod
    def through(url: str, proxy: Proxy) -> str:
        """Return the URL of a database by way of a proxy."""
        return sa.make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


class DatabaseOutages(Outages):
    """Likewise without the databases."""

    OUTAGE = float(os.environ.get("GLANCE_FLOWS_OUTAGE", "8"))

    def test_no_database(self: Any) -> None:
        """F5, C19: both databases are away for long: the runs in hand are finished later, and conductors live on."""
        url = sa.make_url(self.connection)
        proxy = Proxy(url.host, url.port or _PORTS[url.get_backend_name()])
        self.addCleanup(proxy.close)
        self.shut("s2")
        processes, runs = self.busy(
            connection=self.through(self.connection, proxy),
            own={"persistence_connection": self.through(self.persistence, proxy)},
        )
        workers = {self.worker(run)[1] for run in runs if self.record(run).state == RUNNING}
        proxy.shut()
        away = threading.Event()
        self.open("s2")
        away.wait(self.OUTAGE / 2)
        self.open("s3")
        away.wait(self.OUTAGE / 2)
        proxy.open()
        runs.append(self.post())
        self.over(*runs)
        self.assertWhole(*runs)
        self.assertEqual([None, None], [process.process.poll() for process in processes])
        for pid in workers:
            self.assertTrue(Path(f"/proc/{pid}").exists(), "a worker did not survive")
        ends = [each["run"] for each in self.happened("image.import.end")]
        self.assertEqual(sorted(runs), sorted(ends))
