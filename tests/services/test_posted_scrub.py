"""A scrub whose pages real conductors do, on a real board; killed, stopped, emptied and cut off in the middle."""

import contextlib
import os
import signal
import sys
import threading
import unittest
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import states
from glance_flows.board import JobBoard, Reports
from tests.contract.scrubbers import Child, Processes, Proxy
from tests.contract.scrubs import DATA
from tests.contract.worlds import eventually
from tests.services.servers import POSTGRESQL, REQUIRED, OnServer

REDIS = os.environ.get("GLANCE_FLOWS_TEST_REDIS", "redis://127.0.0.1:6379")
LEASE = 3
#: Pages are this small before a pass knows how quick they are.
FIRST_PAGE = 20


class Posted(Processes):
    """A world with a jobboard of its own."""

    def setUp(self) -> None:
        try:
            import redis

            self.redis = redis.Redis.from_url(REDIS)
            self.redis.ping()
        except (ImportError, OSError, redis.RedisError) as failure:
            if REQUIRED:
                raise
            raise unittest.SkipTest(f"no server at {REDIS}: {failure}") from failure
        self.addCleanup(self.redis.close)
        self.board_name = f"test-{uuid.uuid4().hex}"
        self.addCleanup(self.forget_board)
        self.board_url = REDIS
        super().setUp()
        self.services.persistence.ready()
        self.board = JobBoard(REDIS, self.board_name, LEASE)
        self.addCleanup(self.board.close)

    def configure(self) -> dict[str, Any]:
        plain = super().configure()
        board = {"jobboard_url": self.board_url, "jobboard_name": self.board_name, "jobboard_interval": 0.1}
        return {**plain, "glance_flows": {**plain["glance_flows"], **board}}

    def forget_board(self) -> None:
        """Lose everything that is on the board, as a server without a disk does."""
        keys = list(self.redis.scan_iter(f"*{self.board_name}*", count=1000))
        if keys:
            self.redis.delete(*keys)

    def conductor(self, *, jobs: int = 2) -> Child:
        """Start a conductor and wait until it is seen."""
        return self.seen(self.begun([], jobs))

    def gated_conductor(self, at: int, *, grace: int = 30) -> tuple[Child, Path, Path]:
        """Start a conductor of one job that stands still in its deletion number ``at``.

        :param grace: seconds that it gives its tasks when it is to stop
        :return: it, the file that tells that it is there, and the one that lets it go
        """
        reached, go = (self.root / f"{uuid.uuid4()}.{name}" for name in ("reached", "go"))
        return self.seen(self.begun([str(at), str(reached), str(go)], 1, grace)), reached, go

    def begun(self, gate: list[str], jobs: int, grace: int = 30) -> Child:
        own = {**self.configure()["glance_flows"], "stop_grace": grace}
        conf = str(self.conf_file(taskflow_executor={"max_workers": jobs}, glance_flows=own))
        module = "tests.contract.gated_flows" if gate else "glance_flows.cli.main"
        child = Child([sys.executable, "-m", module, *gate, "--config-file", conf, "conductor"], self.root)
        self.addCleanup(kill, child)
        return child

    def seen(self, child: Child) -> Child:
        def alive() -> bool:
            family = [child.process.pid, *(each.pid for each in psutil.Process(child.process.pid).children())]
            conductors = self.services.persistence.conductors.alive(timedelta(seconds=LEASE))
            return any(int(each.name.split(":")[1]) in family for each in conductors)

        eventually(alive, "the conductor is at work")
        return child

    def post(self, *arguments: str) -> Child:
        """Start a posted pass."""
        return self.flows("scrub", "--post", "-f", "json", *arguments)

    @contextlib.contextmanager
    def watched_board(self) -> Iterator[list[int]]:
        """Look again and again how long the board is; gives the greatest length."""
        most, stop = [0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.01):
                most[0] = max(most[0], self.board.count())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield most
        finally:
            stop.set()
            thread.join()

    def live(self) -> str:
        """Make an image that lives, with one of its two locations pending since yesterday."""
        image_id = self.world.image(DATA, "s1")
        self.world.store(image_id, DATA, "s2")
        then = timeutils.utcnow().replace(microsecond=0) - timedelta(days=1)
        (row,) = (row for row in self.rows("image_locations", image_id=image_id) if row["meta_data"]["store"] == "s2")
        gone = {"status": states.PENDING_DELETE, "deleted": True, "deleted_at": then}
        self.change("image_locations", {"id": row["id"]}, **gone)
        return image_id

    def assertReport(self, child: Child, status: int = 0, **expected: Any) -> None:
        self.assertEqual(status, child.end(), child.err)
        report = child.report
        self.assertEqual(expected, {name: report[name] for name in expected})


def kill(child: Child) -> None:
    """End a conductor and its processes the hard way; the one that would replace them first."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children(recursive=True)]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    child.process.wait()


class Everywhere:
    """On every database; mixed with :class:`Posted`."""

    def test_two_conductors(self: Any) -> None:
        """S14, S15: they split the work, each location goes once, and the board is never longer than the window."""
        self.many(2000)
        conductors = [self.begun([], jobs=2) for _ in range(2)]
        for child in conductors:
            self.seen(child)
        with self.watched_board() as most:
            self.assertReport(self.post(), images=2000, locations=2000, missing=0, failed=0, held=0, stopped=False)
        self.assertAllScrubbed(2000)
        self.assertTrue(2 < most[0] <= 2 * 2 * 2, most)
        for child in conductors:
            self.assertIn("images gone: ", child.err, "each did some of it")
        self.assertUnlocked(*conductors)

    def test_a_conductor_that_is_killed(self: Any) -> None:
        """S14, F5: the page it had is done by another one within the lease, and the sum is right."""
        self.many(200)
        first, reached, _ = self.gated_conductor(FIRST_PAGE + 10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of its second page")
        self.conductor()
        kill(first)
        self.assertReport(posting, images=200, failed=0, held=0, missing=9)
        self.assertAllScrubbed(200)


class TestSqlite(Everywhere, Posted):
    """On SQLite, where all are on one host."""


class TestPostgresql(OnServer, Everywhere, Posted):
    """On a server."""

    server = POSTGRESQL


class TestBoard(OnServer, Posted):
    """What becomes of the board, and of whoever posts on it."""

    server = POSTGRESQL

    def test_a_board_that_is_emptied(self) -> None:
        """S14, F5: pages that are lost are posted again; a page in hand then is not done twice, and is reported."""
        self.many(200)
        _, reached, go = self.gated_conductor(FIRST_PAGE + 10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of its second page")
        self.forget_board()
        posting.says("was lost with the jobboard")
        go.touch()
        self.assertReport(posting, images=200, locations=200, missing=0, failed=0, held=0)
        self.assertAllScrubbed(200)
        self.assertEqual(0, self.board.count())

    def test_a_board_that_is_away_for_a_while(self) -> None:
        """S14, F5: everyone waits for it, and goes on."""
        self.many(200)
        url = sa.make_url(REDIS)
        proxy = Proxy(str(url.host), url.port or 6379)
        self.addCleanup(proxy.close)
        self.board_url = f"redis://127.0.0.1:{proxy.port}"
        (self.root / "glance-flows.conf").write_text(self.conf_file().read_text())
        _, reached, go = self.gated_conductor(FIRST_PAGE + 10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of its second page")
        proxy.shut()
        go.touch()
        posting.says("waits for the jobboard")
        proxy.open()
        self.assertReport(posting, images=200, failed=0, held=0)
        self.assertAllScrubbed(200)

    def test_a_poster_that_is_killed(self) -> None:
        """S14: conductors do the pages that were posted, the next pass does the rest."""
        self.many(200)
        _, reached, go = self.gated_conductor(10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of a page")
        eventually(lambda: self.board.count() == 2, "the window is full")
        posting.kill()
        go.touch()
        eventually(lambda: self.board.count() == 0, "what was posted is done")
        self.assertEqual(2 * FIRST_PAGE, self.count(status=states.DELETED))
        self.assertReport(self.post(), images=200 - 2 * FIRST_PAGE, missing=0, failed=0, held=0)
        self.assertAllScrubbed(200)

    def test_a_poster_that_is_stopped(self) -> None:
        """S6: it takes the pages that nobody has begun off the board, and reports what was done."""
        self.many(100)
        _, reached, go = self.gated_conductor(10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of a page")
        eventually(lambda: self.board.count() == 2, "the window is full")
        posting.process.send_signal(signal.SIGTERM)
        posting.says("stopping: what is in hand is finished")
        eventually(lambda: self.board.count() == 1, "only the page in hand is on the board")
        go.touch()
        self.assertReport(posting, images=FIRST_PAGE, stopped=True, failed=0, held=0)
        self.assertEqual((0, 100 - FIRST_PAGE), (self.board.count(), self.count(status=states.PENDING_DELETE)))

    def test_a_conductor_that_is_stopped(self) -> None:
        """S6: the location in hand is finished, no new one begun; the rest of the page is another conductor's."""
        self.many(100)
        first, reached, go = self.gated_conductor(10)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of a page")
        first.process.terminate()
        first.says("graceful exiting of service")
        go.touch()
        self.assertEqual(0, first.end(), first.err)
        self.assertEqual((10, 90), (self.count(status=states.DELETED), len(self.files())))
        self.assertEqual([], self.locks())
        self.conductor()
        self.assertReport(posting, images=100, locations=100, missing=0, failed=0, held=0)
        self.assertAllScrubbed(100)

    def test_a_conductor_that_is_stopped_while_a_store_hangs(self) -> None:
        """S6, S14: it ends in the time it has and gives the page back, which is done once the claims are void."""
        self.many(60)
        first, reached, _ = self.gated_conductor(10, grace=1)
        posting = self.post()
        eventually(reached.exists, "it is in the middle of a page")
        self.conductor()
        first.process.terminate()
        self.assertEqual(0, first.end(), first.err)
        self.assertReport(posting, images=60, missing=9, failed=0, held=0)
        self.assertAllScrubbed(60)

    def test_a_store_that_fails(self) -> None:
        """S7, S12: what fails is told, the status is 1, all else goes; a living image only loses what is pending."""
        bad, *_ = self.many(30, "s1", "s2")
        living = self.live()
        path = self.root / "s1" / bad
        path.unlink()
        (path / "in the way").mkdir(parents=True)
        self.conductor()
        posting = self.post()
        self.assertReport(posting, status=1, images=29, locations=60, failed=1, held=0)
        self.assertEqual([(bad, "s1")], [(each["image"], each["store"]) for each in posting.report["failures"]])
        self.assertEqual((states.PENDING_DELETE, states.ACTIVE), (self.status(bad), self.status(living)))
        self.assertEqual(["s1"], self.stores_with(living))
        self.assertEqual([], self.locks())

    def test_what_cannot_be(self) -> None:
        """S16: without a conductor or a board one sentence tells it, and nothing is posted; a dry run needs neither."""
        (image_id,) = self.many(1)
        nobody = self.post()
        self.assertEqual(1, nobody.end())
        self.assertIn("nothing was posted: no conductor is alive; start one with: glance-flows conductor", nobody.err)
        self.assertEqual(0, self.board.count())
        self.conductor()
        storeless = self.post("--store", "s4")
        self.assertEqual(1, storeless.end())
        self.assertIn("no conductor that is alive has the store s4", storeless.err)
        self.board_url = "redis://127.0.0.1:1"
        (self.root / "glance-flows.conf").write_text(self.conf_file().read_text())
        boardless, dry = self.post(), self.post("--dry-run")
        self.assertEqual((1, 0), (boardless.end(), dry.end()))
        self.assertIn("the jobboard at redis://127.0.0.1:1 cannot be used", boardless.err)
        self.assertEqual([image_id], [each["image"] for each in dry.report["due"]])
        for child in (nobody, storeless, boardless):
            self.assertEqual((1, ""), (len(child.err.splitlines()), child.out), child.err)
        self.assertEqual(states.PENDING_DELETE, self.status(image_id))


class TestReports(Posted):
    """A report and the end of its job are one step."""

    def setUp(self) -> None:
        super().setUp()
        self.reports = Reports(self.board, "a pass")
        self.board.post("a job", {"scrub": "a pass"}, "low")
        (self.job,) = self.board.waiting()
        self.board.claim(self.job, "me")

    def left(self) -> tuple[set[str], list[str]]:
        return self.board.names(), [job.name for job in self.board.waiting()]

    def test_done(self) -> None:
        """F5: the job is gone, and the report is there once."""
        self.reports.add(self.job, "me", {"images": 7}, done=True)
        self.assertEqual((set(), []), self.left())
        self.assertEqual([{"images": 7}, None], [self.reports.next(0), self.reports.next(0)])
        self.assertEqual([], list(self.redis.scan_iter(f"*{self.board_name}*reports*")))

    def test_given_back(self) -> None:
        """F5: anybody can have the job at once."""
        self.reports.add(self.job, "me", {"images": 7}, done=False)
        self.assertEqual(({"a job"}, ["a job"]), self.left())
        self.assertEqual({"images": 7}, self.reports.next(1))

    def test_a_job_that_is_somebody_elses_by_now(self) -> None:
        """F5: it stays his; what was done is reported."""
        self.board.let_go(self.job, "me", done=False)
        self.board.claim(self.job, "somebody")
        self.reports.add(self.job, "me", {"images": 7}, done=True)
        self.assertEqual(({"a job"}, []), self.left())
        self.assertEqual("somebody", self.board.jobs.find_owner(self.job))
        self.assertEqual({"images": 7}, self.reports.next(0))

    def test_a_board_that_was_emptied(self) -> None:
        """F5: what was done is reported all the same, and a job that was posted again is done with."""
        self.forget_board()
        self.reports.add(self.job, "me", {"images": 7}, done=True)
        self.assertEqual({"images": 7}, self.reports.next(0))
        self.board.post("a job", {"scrub": "a pass"}, "low")
        self.reports.add(self.job, "me", {"images": 7}, done=True)
        self.assertEqual((set(), []), self.left())

    def test_what_nobody_reads(self) -> None:
        """F5: reports to whoever is gone go after a day; of others' nothing is read."""
        self.reports.add(self.job, "me", {"images": 7}, done=True)
        self.assertIsNone(Reports(self.board, "another pass").next(0.1))
        (key,) = self.redis.scan_iter(f"*{self.board_name}*reports*")
        self.assertTrue(86000 < self.redis.ttl(key) <= 86400)

    def test_taking_a_job_off(self) -> None:
        """S6: one that somebody has is left to him, and that is no failure."""
        self.assertFalse(self.board.remove(self.job, "the poster"))
        self.board.let_go(self.job, "me", done=False)
        self.assertTrue(self.board.remove(self.job, "the poster"))
        self.assertEqual((set(), []), self.left())
        self.assertFalse(self.board.remove(self.job, "the poster"))
