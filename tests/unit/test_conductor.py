"""A conductor, on a board in memory: what it takes up, what it leaves alone, and how it stops (F5)."""

import threading
import time
from datetime import timedelta
from typing import Any
from unittest import mock

import fixtures
import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.conductor import Conductor, Pause, Ticker
from glance_flows.flows import copy_image, delete_image
from glance_flows.persistence import Needs
from glance_flows.persistence.records import FAILURE, POSTED, RUNNING, SUCCESS, Record
from tests import base
from tests.contract.memory_board import MemoryBoard
from tests.contract.worlds import PATIENCE, FlowCase, eventually


class TestPause(base.TestCase):
    """The wait between two looks."""

    def test_it_ends(self) -> None:
        """F5: a pause ends by itself, by a nudge at once, and by the end of the conductor."""
        Pause(0.01).wait()
        pause = Pause(PATIENCE)
        began = time.monotonic()
        pause.nudge()
        pause.wait()
        self.assertFalse(pause.is_stopped())
        pause.interrupt()
        pause.wait()
        self.assertTrue(pause.is_stopped())
        self.assertLess(time.monotonic() - began, PATIENCE / 2)

    def test_a_nudge_ends_one_wait(self) -> None:
        """F5: a nudge is not remembered for the wait after the next."""
        pause = Pause(0.05)
        pause.nudge()
        pause.wait()
        began = time.monotonic()
        pause.wait()
        self.assertGreaterEqual(time.monotonic() - began, 0.04)


class TestTicker(base.TestCase):
    """What is done now and then."""

    def ticker(self, work: Any) -> Ticker:
        """Return a quick one."""
        ticker = Ticker("winding of the clock", 0.001, work)
        self.addCleanup(ticker.stop)
        return ticker

    def test_trouble(self) -> None:
        """F5: trouble is told once, nothing ends the ticker, and its end is told, too."""
        logged = self.useFixture(fixtures.FakeLogger(level=20))
        troubles: list[Exception] = [errors.BoardUnavailable("away")] * 3 + [ValueError("odd")]
        done = threading.Event()

        def work() -> None:
            if troubles:
                raise troubles.pop(0)
            done.set()

        ticker = self.ticker(work)
        self.assertTrue(done.wait(PATIENCE))
        ticker.stop()
        self.assertEqual(1, logged.output.count("The winding of the clock: away"))
        self.assertIn("ValueError: odd", logged.output)
        self.assertEqual(1, logged.output.count("The winding of the clock works again"))

    def test_stopping(self) -> None:
        """F5: it stops at once, after what is under way."""
        begun, go, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go.wait(PATIENCE)
            ended.set()

        ticker = Ticker("work", PATIENCE, work)
        self.assertTrue(begun.wait(PATIENCE))
        threading.Timer(0.01, go.set).start()
        ticker.stop()
        self.assertTrue(ended.is_set())


class ConductorCase(FlowCase):
    """A conductor for two runs at once that has not been started."""

    memory = ("m1",)

    def configure(self) -> dict[str, Any]:
        own = {"jobboard_interval": 0.05, "stop_grace": 0, "cancel_grace": 2, "progress_interval": 0.1}
        return {"glance_flows": own, "taskflow_executor": {"max_workers": 2}}

    def setUp(self) -> None:
        super().setUp()
        self.board = MemoryBoard()
        vars(self.services)["board"] = self.board
        self.persistence = self.services.persistence
        self.persistence.ready()
        self.conductor = Conductor(self.runner)

    def posted(self) -> Any:
        """Post the deletion of an image."""
        return self.runner.post(delete_image(self.world.image(b"x")))

    def candidates(self) -> list[str]:
        """Return what the conductor could do now."""
        return [job.name for job in self.conductor.candidates()]


class TestCandidates(ConductorCase):
    """What could be done here."""

    def test_what_is_left_alone(self) -> None:
        """F5: what another claimed, what lives, what this host cannot do, and what is no run of ours."""
        mine, claimed, living = (self.posted().id for _ in range(3))
        self.board.claim(self.board.jobs[claimed], "other")
        self.persistence.records.take_over(self.persistence.records.get(living), "other:1:x")
        self.board.post("strange", {"what": "ever"})
        self.board.post("nothing", None)
        self.board.post("unplaceable", {"needs": Needs(stores=("s9",)).to_json()})
        self.board.post("unknown", {"needs": Needs().to_json()})
        self.assertEqual([mine], self.candidates())
        self.assertIn("Job unknown is left alone", self.logged.output)

    def test_pages_that_are_over(self) -> None:
        """S14: a page that nobody could do is ended by whoever sees it when it is old, whatever it needs."""
        needs = Needs(stores=("s9",)).to_json()
        for name, age in (("old", timedelta(days=2)), ("new", timedelta())):
            posted_at = (timeutils.utcnow() - age).isoformat()
            self.board.post(name, {"scrub": "pass", "needs": needs, "posted_at": posted_at})
        self.assertEqual(["old"], self.candidates())

    def test_unknown_jobs_hide_nothing(self) -> None:
        """F5: jobs of runs that are not on the list keep nobody from those behind them."""
        for number in range(20):
            self.board.post(f"unknown-{number}", {"needs": Needs().to_json()})
        mine = self.posted().id
        eventually(lambda: self.candidates() == [mine], "the run comes in sight")

    def test_trouble(self) -> None:
        """F5: a board or a database that is away is told once, and looked at again."""
        mine = self.posted().id
        self.board.away = True
        self.assertEqual(([], []), (self.candidates(), self.candidates()))
        self.assertEqual(1, self.logged.output.count("No runs are taken up for now"))
        self.board.away = False
        with mock.patch.object(self.persistence.postings, "records", side_effect=errors.DatabaseError("away")):
            self.assertEqual([], self.candidates())
        self.assertEqual([mine], self.candidates())

    def test_a_stopped_one(self) -> None:
        """F5: a conductor that is to stop takes up nothing more."""
        self.posted()
        self.conductor.stop()
        self.assertEqual([], self.candidates())

    def test_staged_data(self) -> None:
        """F5: data in another host's staging area can be worked on where that area is shared."""
        image_id = self.world.image()
        needs = Needs(stores=("s1",), staged="other").to_json()
        record = Record("run", copy_image(image_id, to=["s2"]), POSTED, "other:1:a", image_id=image_id)
        self.persistence.records.create(record)
        self.board.post("run", {"image": image_id, "needs": needs})
        self.assertEqual([], self.candidates())
        self.world.stage(image_id, b"x")
        self.assertEqual(["run"], self.candidates())


class TestDispatch(ConductorCase):
    """A job that was claimed."""

    def dispatched(self, run_id: str) -> bool:
        """Claim a job and do it; tell whether it is done."""
        job = self.board.jobs[run_id]
        self.conductor.claim(job)
        return self.conductor._dispatch_job(job)

    def test_a_success_and_a_failure(self) -> None:
        """F5: a run that is over is done, whether it went well or not."""
        good, bad = self.posted(), self.runner.post(copy_image(self.world.image(b"x"), to=["m1"]))
        with mock.patch.object(self.services.stores.get("m1"), "add", side_effect=errors.StoreFull("full")):
            self.assertTrue(self.dispatched(good.id) and self.dispatched(bad.id))
        self.assertEqual((SUCCESS, FAILURE), (good.record.state, bad.record.state))

    def test_a_run_that_is_over(self) -> None:
        """F5: a job whose run ended meanwhile is done without being touched."""
        posted = self.posted()
        self.persistence.records.end(posted.id, posted.record.holder, SUCCESS, None, [])
        before = self.world.picture()
        self.assertTrue(self.dispatched(posted.id))
        self.assertEqual(before, self.world.picture())

    def test_a_run_that_left_something_behind(self) -> None:
        """F6: a conductor finishes it when it comes to the board again, and the store is back."""
        image_id, store = self.world.image(b"x"), self.services.stores.get("m1")
        posted = self.runner.post(copy_image(image_id, to=["m1"]))
        store.fail_delete, self.runner.after = errors.StoreError("m1 is down."), "publish"
        self.assertTrue(self.dispatched(posted.id))
        self.assertEqual(1, len(posted.record.leftovers))
        store.fail_delete = self.runner.after = None
        self.conductor._try_finish_job(self.board.jobs[posted.id], consume=True)
        self.board.post(posted.id, self.persistence.postings.of([posted.id])[posted.id].details)
        self.assertTrue(self.dispatched(posted.id))
        self.assertEqual((FAILURE, ()), (posted.record.state, posted.record.leftovers))
        self.assertIsNone(self.bytes_in(image_id, "m1"))

    def test_a_run_that_was_cancelled(self) -> None:
        """C27, F5: a run that was cancelled while it waited is ended by a conductor, and does nothing."""
        posted = self.posted()
        before = self.world.picture()
        posted.cancel("not wanted any more")
        self.assertTrue(self.dispatched(posted.id))
        self.assertEqual((FAILURE, "not wanted any more"), (posted.record.state, posted.record.error))
        self.assertEqual(before, self.world.picture())

    def test_a_run_that_lives(self) -> None:
        """F5, C25: a claim on the board is no right to touch a run: one that another works on is left alone."""
        posted = self.posted()
        self.persistence.records.take_over(posted.record, "other:1:x")
        before = self.world.picture()
        self.assertFalse(self.dispatched(posted.id))
        self.assertEqual((before, RUNNING), (self.world.picture(), posted.record.state))
        self.assertEqual("other:1:x", posted.record.holder)

    def test_trouble(self) -> None:
        """F5: whatever goes wrong, the job is not thrown away; it is left alone here for a while."""
        for trouble in (errors.DatabaseError("away"), ValueError("odd")):
            posted = self.posted()
            with mock.patch.object(self.runner, "work", side_effect=trouble):
                self.assertFalse(self.dispatched(posted.id))
            self.assertIn(f"Job {posted.id} ", self.logged.output)
            self.conductor._try_finish_job(self.board.jobs[posted.id], False)
            self.assertEqual([], self.candidates())
            self.assertIn(posted.id, self.board.names())
            self.board.owners[posted.id] = "other"

    def test_a_board_that_forgot(self) -> None:
        """F5: a run that is over is over, though the board no longer knows its job."""
        posted = self.posted()
        job = self.board.jobs[posted.id]
        self.assertTrue(self.dispatched(posted.id))
        self.board.away = True
        self.conductor._try_finish_job(job, True)
        self.assertEqual(SUCCESS, posted.record.state)

    def test_renewals(self) -> None:
        """F5: the claims of the runs in hand are renewed, and of no others."""
        self.conductor._renew()
        posted, _ = self.posted(), self.posted()
        self.conductor.claim(self.board.jobs[posted.id])
        self.conductor._renew()
        self.conductor._try_finish_job(self.board.jobs[posted.id], True)
        self.conductor._renew()
        self.assertEqual([[posted.id]], self.board.renewed)

    def test_old_runs(self) -> None:
        """F4, F5: a conductor forgets all runs that have been over for long, with no run in hand, and no others."""
        records = self.persistence.records
        old = timeutils.utcnow() - timedelta(days=8)
        for number in range(5):
            record = Record(f"old-{number}", delete_image("i"), SUCCESS, "other:1:a", created_at=old)
            records.create(record)
            records.end(record.id, "other:1:a", SUCCESS, None, [])
        records.write(sa.text("UPDATE runs SET finished_at = created_at"))
        kept = self.posted().id
        expire = records.expire
        with mock.patch.object(records, "expire", lambda before: expire(before, limit=2)):
            self.conductor._tidy()
        self.assertEqual([kept], [record.id for record in records.page()])

    def test_a_renewal_under_way(self) -> None:
        """F5: a job that is let go while claims are renewed is not claimed again by that."""
        posted, page = self.posted(), self.posted()
        for each in (posted, page):
            self.conductor.claim(self.board.jobs[each.id])
        ends = (
            lambda: self.conductor._try_finish_job(self.board.jobs[posted.id], consume=False),
            lambda: self.conductor._keep_no_more(self.board.jobs[page.id]),
        )
        threads = [threading.Thread(target=end) for end in ends]

        def renew(held: list[Any], who: str) -> None:
            for thread in threads:
                thread.start()
                thread.join(0.2)
            self.board.owners.update({job.name: who for job in held})

        with mock.patch.object(self.board, "renew", renew):
            self.conductor._renew()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual({page.id: self.runner.holder}, self.board.owners)
        self.conductor._renew()
        self.assertEqual([], self.board.renewed)


class TestWork(ConductorCase):
    """From start to end."""

    def start(self) -> threading.Thread:
        """Run the conductor on a thread; it is stopped at the end."""
        thread = threading.Thread(target=self.conductor.run)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(self.conductor.stop)
        return thread

    def test_many(self) -> None:
        """F5: every posted run is done, each once, and the board is empty then."""
        posted = [self.posted() for _ in range(7)]
        self.start()
        for each in posted:
            self.assertTrue(each.wait(PATIENCE))
            self.assertEqual(SUCCESS, each.record.state)
            self.assertEqual(states.DELETED, self.db.images.get(each.record.image_id).status)
        eventually(lambda: not self.board.jobs, "the board is empty")
        started = [payload["run"] for event, payload in self.events.seen if event.endswith(".start")]
        self.assertEqual(sorted(each.id for each in posted), sorted(started))

    def test_showing_itself(self) -> None:
        """F5: a conductor is on the list while it works, with what it has, and leaves it."""
        thread = self.start()
        (shown,) = eventually(self.persistence.conductors.all, "it shows itself")
        self.assertEqual((self.runner.holder, self.services.host, 2), (shown.name, shown.host, shown.jobs))
        self.assertEqual(("m1", "s1"), (sorted(shown.stores)[0], sorted(shown.stores)[1]))
        self.conductor.stop()
        thread.join(PATIENCE)
        self.assertEqual([], self.persistence.conductors.all())

    def test_draining(self) -> None:
        """F5: a run in hand is given back, to be taken up by any conductor; nothing more is begun."""
        store = self.hold("m1")
        posted = self.runner.post(copy_image(self.world.image(b"x" * 100), to=["m1"]))
        self.start()
        self.reached(store)
        behind = self.posted()
        late = self.conductor.drain(0.05)
        self.assertEqual([posted.id], late)
        self.assertEqual((POSTED, POSTED), (posted.record.state, behind.record.state))
        self.assertEqual({}, {name: who for name, who in self.board.owners.items() if name == posted.id})
        self.release_all()
