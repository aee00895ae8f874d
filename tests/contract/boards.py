"""What a jobboard promises, whatever server it is on: concrete classes give its URL."""

import uuid
from typing import Any

from taskflow import exceptions as taskflow_exceptions

from glance_flows import errors
from glance_flows.board import JobBoard
from tests import base
from tests.contract.worlds import eventually

#: Seconds; short, for the tests that see one end.
LEASE = 3.0
NEEDS = {"stores": ["s1"]}


def names(jobs: list[Any]) -> str:
    """Return the names of jobs in their order."""
    return " ".join(job.name for job in jobs)


class BoardCase(base.TestCase):
    """Two hosts' views of one board: ``here`` and ``there``."""

    url: str

    def setUp(self) -> None:
        super().setUp()
        self.name = f"test-{uuid.uuid4().hex}"
        self.here, self.there = self.board(), self.board()

    def board(self, name: str = "", lease: float = LEASE) -> JobBoard:
        """Open the board, or another one."""
        board = JobBoard(self.url, name or self.name, lease)
        self.addCleanup(board.close)
        return board

    def post(self, *posted: str) -> None:
        """Post jobs, each as ``name`` or ``name:priority``."""
        for each in posted:
            name, _, priority = each.partition(":")
            self.here.post(name, {"run": name, "needs": NEEDS}, priority or "normal")

    def job(self, name: str) -> Any:
        """Return a job that waits, as the other host sees it."""
        (found,) = (job for job in self.there.waiting() if job.name == name)
        return found


class BoardContract:
    """F5, of every board."""

    def test_order(self: Any) -> None:
        """F5: a high priority comes before a low one, and within one the oldest is the first."""
        self.post("a:low", "b", "c:high", "d", "e:low", "f:high")
        self.assertEqual("c f b d a e", names(self.there.waiting()))
        self.assertEqual(6, self.there.count())

    def test_what_a_job_says(self: Any) -> None:
        """F5: what was posted with a job is what another host reads."""
        self.post("a")
        self.assertEqual({"run": "a", "needs": NEEDS}, dict(self.job("a").details))

    def test_claims(self: Any) -> None:
        """F5: a claimed job is nobody else's, stays on the board, and leaves it when it is finished."""
        self.post("a", "b")
        mine, theirs = self.job("a"), self.here.waiting()[0]
        self.there.claim(mine, "there")
        self.assertRaises(taskflow_exceptions.UnclaimableJob, self.here.claim, theirs, "here")
        self.assertEqual(("b", {"a", "b"}), (names(self.here.waiting()), self.here.names()))
        self.assertRaises(errors.BoardUnavailable, self.here.let_go, theirs, "here", done=True)
        self.there.let_go(mine, "there", done=True)
        self.assertEqual(({"b"}, 1), (self.here.names(), self.here.count()))
        self.assertRaises(taskflow_exceptions.UnclaimableJob, self.here.claim, theirs, "here")

    def test_giving_back(self: Any) -> None:
        """F5: a job that is given back waits at its place again."""
        self.post("a", "b", "c")
        mine = self.job("a")
        self.there.claim(mine, "there")
        self.there.let_go(mine, "there", done=False)
        self.assertEqual("a b c", names(self.here.waiting()))
        self.here.claim(self.here.waiting()[0], "here")

    def test_owners(self: Any) -> None:
        """F5: who has a job is told, and None of one that nobody has."""
        self.post("a")
        mine = self.job("a")
        self.assertIsNone(self.there.jobs.find_owner(mine))
        self.there.claim(mine, "there")
        self.assertEqual("there", self.there.jobs.find_owner(mine))

    def test_removing(self: Any) -> None:
        """F5: to make room a job is taken off the board, but never one that somebody works on."""
        self.post("a", "b")
        mine, free = self.here.waiting()
        self.there.waiting()
        self.there.claim(self.job("a"), "there")
        self.assertEqual([False, True, False], [self.here.remove(job, "here") for job in (mine, free, free)])
        self.assertEqual({"a"}, self.there.names())

    def test_a_lease_that_is_renewed(self: Any) -> None:
        """F5: a claim outlasts its lease for as long as it is renewed, and ends when it is not."""
        self.post("a")
        mine = self.job("a")
        self.there.claim(mine, "there")
        self.there.renew([mine], "there")
        self.assertEqual("", names(self.here.waiting()))
        self.forget_claims()
        eventually(lambda: names(self.here.waiting()) == "a", "the claim ends")

    def forget_claims(self: Any) -> None:
        """Have claims end that nobody renews: those of a session with the session."""

    def test_boards_beside_each_other(self: Any) -> None:
        """F5: boards of different names on one server know nothing of each other."""
        other = self.board(self.name + "-x")
        self.post("a")
        self.assertEqual((0, set()), (other.count(), other.names()))


class UnreachableContract:
    """F2, F5: a server that is not there."""

    url: str

    def test_it_is_told(self: Any) -> None:
        """F2, F5: the error says which board, in a line, and no password."""
        board = JobBoard(self.url, "test", LEASE)
        self.addCleanup(board.close)
        calls = (
            board.count,
            board.names,
            board.waiting,
            lambda: board.post("a", {}),
            lambda: board.renew([], "me"),
        )
        for call in calls:
            failure = self.assertRaises(errors.BoardUnavailable, call)
            self.assertIn("the jobboard at", str(failure))
            self.assertNotIn("hunter2", str(failure))
            self.assertEqual(1, len(str(failure).splitlines()))
