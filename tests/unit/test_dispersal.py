"""A posted pass against a board in memory: reports that come twice, pages that are lost, a board that is away."""

import dataclasses
import json
import threading
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.board import Reports
from glance_flows.dispersal import PostedScrub
from glance_flows.flow import FlowSpec
from glance_flows.pages import Page, Pages, _Shown, is_page
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.persistence.postings import WORKING
from glance_flows.runner import Runner
from glance_flows.scrubber import Report, Scrubber
from tests.contract.scrubs import Pendings


class MemoryBoard:
    """A board and its reports; whoever waits for a report does a page meanwhile.

    :param pages: does them
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.jobs: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] = []
        self.posted: list[str] = []
        self.longest = 0
        self.away = 0
        self.lose = 0
        self.twice = False
        self.idle = False

    def count(self) -> int:
        self._check()
        return len(self.jobs)

    def names(self) -> set[str]:
        self._check()
        return set(self.jobs)

    def post(self, name: str, details: dict[str, Any], priority: str) -> None:
        self._check()
        self.posted.append(name)
        if len(self.posted) > self.lose:
            self.jobs.setdefault(name, SimpleNamespace(name=name, details=details))
        self.longest = max(self.longest, len(self.jobs))

    def waiting(self) -> list[Any]:
        return list(self.jobs.values())

    def remove(self, job: Any, who: str) -> bool:
        return self.jobs.pop(job.name, None) is not None

    def next(self, seconds: float) -> dict[str, Any] | None:
        self._check()
        if seconds and not self.reports and self.jobs and not self.idle:
            job = self.jobs.pop(min(self.jobs))
            report = self._pages._done(Page.of(job))
            self.reports += [report, report] if self.twice else [report]
        return self.reports.pop(0) if self.reports else None

    def _check(self) -> None:
        if self.away:
            self.away -= 1
            raise errors.BoardUnavailable


class TestPostedScrub(Pendings):
    """S14 and S16 without a server."""

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"jobboard_url": "redis://127.0.0.1:1", "lease_seconds": 60}}

    def setUp(self) -> None:
        super().setUp()
        self.services.persistence.ready()
        self.alive("c1", jobs=2)
        self.board = MemoryBoard(Pages(self.runner))
        for name, value in (("_WAIT_SECONDS", 0.01), ("_LOOK_SECONDS", 0.05), ("_PATIENCE_SECONDS", 0.5)):
            patcher = mock.patch(f"glance_flows.dispersal.{name}", value)
            patcher.start()
            self.addCleanup(patcher.stop)

    def alive(self, name: str, *, jobs: int) -> None:
        record = ConductorRecord(name, "host", "1", WORKING, jobs, ("m1",))
        self.services.persistence.conductors.beat(record)

    def posted(self, **options: Any) -> PostedScrub:
        scrub = PostedScrub(self.runner, page=2, **options)
        scrub._board = scrub._reports = self.board  # type: ignore[assignment]
        return scrub

    def all_done(self, count: int, **options: Any) -> Report:
        ids = [self.pending("m1") for _ in range(count)]
        report = self.posted(**options).run_pass()
        self.assertScrubbed(*ids)
        self.assertEqual((count, count), (report.images, report.locations))
        self.assertEqual((0, 0, 0), (report.missing, report.failed, report.held))
        self.assertEqual({}, self.board.jobs)
        return report

    def test_the_window(self) -> None:
        """S15: twice as many pages as the conductors can do at once, be there never so many images."""
        self.all_done(21)
        self.assertEqual((4, 11), (self.board.longest, len(self.board.posted)))

    def test_a_window_that_runs_fill(self) -> None:
        """F5: pages and runs together are no more than jobboard_window."""
        self.services.conf.set_override("jobboard_window", 3, "glance_flows")
        self.board.jobs["a run"] = run = SimpleNamespace(name="a run", details={})
        self.assertFalse(is_page(run))
        ids = [self.pending("m1") for _ in range(9)]
        with mock.patch.object(MemoryBoard, "next", self._next_page):
            self.assertEqual(9, self.posted().run_pass().images)
        self.assertScrubbed(*ids)
        self.assertEqual((3, {"a run": run}), (self.board.longest, self.board.jobs))

    def _next_page(self, seconds: float) -> dict[str, Any] | None:
        pages = [name for name, job in self.board.jobs.items() if is_page(job)]
        return self.board._pages._done(Page.of(self.board.jobs.pop(pages[0]))) if seconds and pages else None

    def test_progress(self) -> None:
        """S16: the report so far is told after each page."""
        seen: list[int] = []
        self.all_done(6, told=lambda report: seen.append(report.images))
        self.assertEqual([2, 4, 6], seen)

    def test_a_report_that_comes_twice(self) -> None:
        """S14: it counts once."""
        self.board.twice = True
        self.all_done(9)

    def test_pages_that_are_lost(self) -> None:
        """S14, F5: they are posted again."""
        self.board.lose = 3
        self.all_done(9)
        self.assertEqual((8, 5), (len(self.board.posted), len(set(self.board.posted))))

    def cut(self, scrub: PostedScrub, times: int) -> None:
        """Have the board go away once the pass has begun, for so many questions."""
        sweep = scrub._sweep

        def cut(*args: Any) -> None:
            self.board.away = times
            sweep(*args)

        patcher = mock.patch.object(scrub, "_sweep", cut)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_a_board_that_is_away(self) -> None:
        """F5: it is waited for."""
        ids = [self.pending("m1") for _ in range(3)]
        scrub = self.posted()
        self.cut(scrub, 5)
        self.assertEqual(3, scrub.run_pass().images)
        self.assertScrubbed(*ids)

    def test_a_board_that_stays_away(self) -> None:
        """F5: not for ever."""
        self.pending("m1")
        before = self.world.picture()
        scrub = self.posted()
        scrub._patience = 0.1
        self.cut(scrub, 10_000)
        self.assertRaises(errors.BoardUnavailable, scrub.run_pass)
        self.assertEqual(before, self.world.picture())

    def test_nobody_is_there(self) -> None:
        """F5: nothing is posted without a conductor that could do it, and the message says what is lacking."""
        self.pending("m1")
        self.assertRaisesRegex(errors.NoConductor, "has the store m2", self.posted(store="m2").run_pass)
        self.services.persistence.conductors.leave("c1")
        self.assertRaisesRegex(errors.NoConductor, "no conductor is alive", self.posted().run_pass)
        self.assertEqual([], self.board.posted)

    def test_everybody_is_gone(self) -> None:
        """F5: when all the conductors are gone for good, so are the pages, and the pass says so."""
        self.pending("m1")
        self.board.idle = True
        scrub = self.posted()
        scrub._patience = 0.1
        sweep = scrub._sweep

        def left(*args: Any) -> None:
            sweep(*args)
            self.services.persistence.conductors.leave("c1")

        with mock.patch.object(scrub, "_sweep", left):
            self.assertRaisesRegex(errors.NoConductor, "no conductor is alive any more", scrub.run_pass)
        self.assertEqual((1, {}), (len(self.board.posted), self.board.jobs))

    def test_an_image_that_others_keep(self) -> None:
        """S14: after a while it is left to them, and reported as held; one that becomes free is done."""
        kept, freed = self.pending("m1"), self.pending("m1")
        for image_id in (kept, freed):
            self.lock_as_another(image_id)
        # The claims last longer than that; only how long the pass waits for others is meant.
        self.services.conf.set_override("lease_seconds", 3, "glance_flows")
        renewing = mock.patch.object(self.db.pending, "free", side_effect=self._renewed(kept, freed))
        with renewing:
            report = self.posted().run_pass()
        self.assertEqual((1, 1, 0), (report.images, report.held, report.failed))
        self.assertEqual([states.PENDING_DELETE, states.DELETED], [self.status(kept), self.status(freed)])

    def _renewed(self, kept: str, freed: str) -> Any:
        free = self.db.pending.free

        self.alive("c1", jobs=2)

        def look(image_ids: Any) -> list[str]:
            self.alive("c1", jobs=2)
            self.age_lock(kept, 0)
            self.change("image_properties", {"image_id": freed, "name": states.LOCK}, deleted=True)
            return free(image_ids)

        return look

    def test_nobody_reports(self) -> None:
        """S14: where pages are posted and nobody reports for long, the pass says so, once, and goes on waiting."""
        ids = [self.pending("m1") for _ in range(3)]
        self.board.idle = True
        scrub = self.posted()
        scrub._patience = 0.2
        look, looks = scrub._look, []

        def count(report: Report) -> None:
            self.alive("c1", jobs=2)
            look(report)
            looks.append(report)
            self.board.idle = len(looks) < 12

        with mock.patch.object(scrub, "_look", count):
            self.assertEqual(3, scrub.run_pass().images)
        self.assertScrubbed(*ids)
        self.assertEqual(1, self.logged.output.count("No conductor has reported for"))

    def test_a_store_that_does_not_answer_one_host(self) -> None:
        """S7: the others are not forbidden to ask it; the report tells of it."""
        ids = [self.pending("m1") for _ in range(12)]
        delete, seen = self.store("m1").delete, []

        def hang(url: str) -> None:
            seen.append(url)
            if len(seen) == 1:
                raise errors.StoreTimeout("m1 made no progress.")
            delete(url)

        def one_of_many(job: Any) -> dict[str, Any]:
            return Pages(self.runner)._done(job)

        with (
            mock.patch.object(self.store("m1"), "delete", hang),
            mock.patch.object(self.board._pages, "_done", one_of_many),
        ):
            report = self.posted().run_pass()
        # Those of the page at hand are left, nothing else.
        self.assertEqual((10, 2, ["m1"]), (report.images, report.failed, report.silent))
        self.assertEqual(2, sum(self.status(each) == states.PENDING_DELETE for each in ids))

    def test_deleted_again_meanwhile(self) -> None:
        """S4: an image that was restored and deleted again since it was posted stays, and nobody holds it."""
        self.set(scrub_time=50)
        image_id, other = self.pending("m1"), self.pending("m1")
        claim = self.db.pending.claim

        def late(*args: Any, **kwargs: Any) -> list[str]:
            self.age(image_id, 10)
            return claim(*args, **kwargs)

        with mock.patch.object(self.db.pending, "claim", late):
            report = self.posted().run_pass()
        self.assertEqual((1, 0, 0), (report.images, report.held, report.failed))
        self.assertEqual([["m1"], []], [self.stores_with(image_id), self.stores_with(other)])

    def test_stopped(self) -> None:
        """S6: what nobody has begun goes off the board."""
        ids = [self.pending("m1") for _ in range(9)]
        scrub = self.posted(told=lambda report: scrub.stop())
        report = scrub.run_pass()
        self.assertEqual((2, True, 0), (report.images, report.stopped, report.held))
        self.assertEqual({}, self.board.jobs)
        self.assertEqual(7, sum(self.status(each) == states.PENDING_DELETE for each in ids))

    def test_a_page_that_fails_as_nobody_foresaw(self) -> None:
        """S7: it is told for each of its images, and not tried for ever."""
        ids = {self.pending("m1") for _ in range(2)}
        with mock.patch.object(self.db.pending, "doomed", side_effect=RuntimeError("broken")):
            report = self.posted().run_pass()
        self.assertEqual((0, 2), (report.images, report.failed))
        self.assertEqual(ids, {item["image"] for item in report.failures})
        self.assertIn("broken", report.failures[0]["error"])

    def test_boards_without_reports(self) -> None:
        """F5: other boards are refused, and why is said."""
        board: Any = SimpleNamespace(jobs=object())
        self.assertRaisesRegex(errors.ConfigurationError, "on a board on Redis only", Reports, board, "name")


def page_of(runner: Runner, *image_ids: str, live: bool = False, until: str | None = None) -> Page:
    """Return a page of these images as it is posted."""
    poster = Scrubber(runner)
    poster._until = until or timeutils.utcnow().isoformat()
    return Page(uuid.uuid4().hex, poster._spec(list(image_ids), Report(), live), Needs())


def _summed(report: dict[str, Any]) -> tuple[bool, int]:
    return report["done"], report["removed"]["images"]


class TestPage(Pendings):
    """A page as a job, and in hand."""

    def page(self, *image_ids: str, live: bool = False, until: str | None = None) -> tuple[Page, Any]:
        page = page_of(self.runner, *image_ids, live=live, until=until)
        return page, SimpleNamespace(name=page.name, details=page.details)

    def test_there_and_back(self) -> None:
        """F5: a conductor reads what was posted."""
        page, job = self.page("a", "b")
        self.assertTrue(is_page(job))
        self.assertEqual(page, Page.of(job))
        self.assertEqual(["a", "b"], Page.of(job).images)

    def test_the_pool_and_the_lease_of_this_host(self) -> None:
        """S5, R8: what a page says of them is what the poster has."""
        self.services.conf.set_override("lease_seconds", 7, "glance_flows")
        page, _ = self.page(self.pending("m1"))
        self.set(scrub_pool_size=5)
        self.services.conf.set_override("lease_seconds", 9, "glance_flows")
        seen: list[FlowSpec] = []
        submit = self.runner.submit
        with mock.patch.object(self.runner, "submit", side_effect=lambda spec: seen.append(spec) or submit(spec)):
            self.assertEqual(1, Pages(self.runner)._done(page)["removed"]["images"])
        self.assertEqual((5, 9.0), (seen[0].arguments["pool_size"], seen[0].arguments["lease"]))

    def test_several_pages_at_once(self) -> None:
        """S5: together they work on scrub_pool_size images at once; S6: a stop ends those that wait, too."""
        self.set(scrub_pool_size=2)
        store, pages, reports = self.gated("m1"), Pages(self.runner), []
        posted = [self.page(*[self.pending("m1") for _ in range(3)])[0] for _ in range(3)]
        threads = [threading.Thread(target=lambda p=page: reports.append(pages._done(p))) for page in posted]
        for thread in threads:
            thread.start()
        for _ in range(2):
            self.assertTrue(store.arrived.acquire(timeout=30))
        self.assertFalse(store.arrived.acquire(timeout=0.5), "a third one is begun")
        pages.stop()
        store.gate.set()
        for thread in threads:
            thread.join()
        self.assertEqual([(False, 0), (False, 0), (False, 2)], sorted(_summed(each) for each in reports))
        self.assertEqual((2, []), (store.most, self.locks()))

    def test_a_store_that_does_not_answer(self) -> None:
        """S7: this host does not ask it again for a lease, and then does."""
        pages, asked = Pages(self.runner), []

        def hang(url: str) -> None:
            asked.append(url)
            raise errors.StoreTimeout("m1 made no progress.")

        with mock.patch.object(self.store("m1"), "delete", hang):
            for _ in range(3):
                report = pages._done(self.page(self.pending("m1"), self.pending("m2"))[0])
                self.assertEqual((1, 1), (report["removed"]["images"], len(report["removed"]["failures"])))
            self.assertEqual(1, len(asked))
            pages._silent = dict.fromkeys(pages._silent, 0.0)
            pages._done(self.page(self.pending("m1"))[0])
        self.assertEqual(2, len(asked))

    def shown(self, *images: str) -> list[dict[str, Any]]:
        """Have a conductor do a page of each image, one after the other; return what it reported."""
        reports: list[dict[str, Any]] = []
        pages = Pages(self.runner)
        with mock.patch.object(pages, "_tell", side_effect=lambda job, page, report: reports.append(report)):
            for image_id in images:
                pages.work(self.page(image_id)[1], settled=lambda: None)
        return reports

    def test_who_cannot_be_seen(self) -> None:
        """S14, R8: where a conductor cannot show itself it does its pages unseen, and says so."""
        self.services.conf.set_override("coordination_url", "nonsense://here", "glance_flows")
        ids = [self.pending("m1") for _ in range(2)]
        self.assertEqual([1, 1], [report["removed"]["images"] for report in self.shown(*ids)])
        self.assertScrubbed(*ids)
        self.assertEqual(2, self.logged.output.count("--restore does not see that a scrubber is at work here"))

    def test_a_place_that_was_lost(self) -> None:
        """R2: while there are pages in hand, each one looks that the conductor is still seen."""
        coordinator, place = mock.MagicMock(), mock.Mock()
        coordinator.scrubbing.return_value.__enter__.return_value = place
        shown = _Shown(coordinator)
        for _ in range(2):
            with shown, shown:
                place.take.assert_called_once_with()
            place.take.reset_mock()
        self.assertEqual(2, coordinator.scrubbing.return_value.__exit__.call_count)

    def work(self, details: Any) -> list[str]:
        """Have a conductor do a job and return what it came to: what was settled, submitted and reported."""
        seen: list[str] = []
        job = SimpleNamespace(name="a job", details=details)
        with (
            mock.patch.object(self.runner, "submit", side_effect=lambda spec: seen.append(spec.flow)),
            mock.patch("glance_flows.pages.Reports", side_effect=lambda *args: seen.append("report")),
        ):
            Pages(self.runner).work(job, settled=lambda: seen.append("settled"))
        return seen

    def test_what_is_no_page(self) -> None:
        """S4, F5: a board is not trusted with anything but a scrub; what else there is goes off it with a warning."""
        image_id = self.pending("m1")
        _, job = self.page(image_id)
        before = self.world.picture()
        spec = json.loads(job.details["spec"])
        wrong: list[Any] = [{**spec, "flow": "delete-image", "arguments": {"image_id": image_id}}]
        wrong += [{**spec, "flow": "delete-image"}, {**spec, "arguments": {}}, {}, [], "no"]
        for name, value in (("candidates", [7]), ("until", "soon"), ("live", 1), ("store", 7), ("other", "x")):
            wrong.append({**spec, "arguments": {**spec["arguments"], name: value}})
        for each in wrong:
            with self.subTest(spec=each):
                self.assertEqual([], self.work({**job.details, "spec": json.dumps(each)}))
        for name, value in (("spec", "{"), ("spec", None), ("needs", "s1"), ("scrub", 7)):
            self.assertEqual([], self.work({**job.details, name: value}))
        self.assertEqual(len(wrong) + 4, self.logged.output.count("A job is taken off the board and not done"))
        self.assertEqual(before, self.world.picture())

    def test_old_pages(self) -> None:
        """F5: a page of a pass that was killed is of no use after a day, and not done."""
        _, job = self.page(self.pending("m1"))
        self.assertFalse(Page.expired(job))
        now = timeutils.utcnow()
        for posted_at in (now - timedelta(hours=25), now + timedelta(days=9)):
            job.details["posted_at"] = posted_at.isoformat()
            self.assertTrue(Page.expired(job))
            self.assertEqual([], self.work(job.details))
        del job.details["posted_at"]
        self.assertTrue(Page.expired(job))

    def test_a_page_that_wants_more_than_is_due(self) -> None:
        """S4: a host removes nothing before its own scrub_time, whatever a page says."""
        image_id, old = self.pending("m1", ago=100), self.pending("m1", ago=1000)
        self.set(scrub_time=500)
        for until in ("2999-01-01T00:00:00", None):
            page, _ = self.page(image_id, old)
            page = dataclasses.replace(page, spec=page.spec.replace(until=until))
            self.assertIn(image_id, Pages(self.runner)._done(page)["held"])
        self.assertEqual([["m1"], []], [self.stores_with(image_id), self.stores_with(old)])

    def test_deleted_again_since_it_was_posted(self) -> None:
        """S4: an image that was restored and deleted again while its page was on the board is as young as that."""
        image_id, other = self.pending("m1"), self.pending("m1")
        _, job = self.page(image_id, other, until=(timeutils.utcnow() - timedelta(seconds=50)).isoformat())
        self.age(image_id, 10)
        report = Pages(self.runner)._done(Page.of(job))
        self.assertEqual((1, [image_id]), (report["removed"]["images"], report["held"]))
        self.assertEqual([["m1"], []], [self.stores_with(image_id), self.stores_with(other)])
        self.assertEqual([], self.locks())

    def test_stopped_in_the_middle(self) -> None:
        """S6: the location in hand is finished; what is left is free at once, and the page not done."""
        store = self.gated("m1")
        ids = [self.pending("m1") for _ in range(3)]
        page, _ = self.page(*ids)
        pages, reports = Pages(self.runner), []
        thread = threading.Thread(target=lambda: reports.append(pages._done(page)))
        thread.start()
        self.assertTrue(store.arrived.acquire(timeout=30))
        pages.stop()
        store.gate.set()
        thread.join()
        (report,) = reports
        self.assertEqual((False, 1, []), (report["done"], report["removed"]["images"], report["held"]))
        self.assertEqual([], self.locks())
        self.assertFalse(pages._done(page)["done"], "none is begun any more")
        self.assertEqual(1, len(store.asked))
