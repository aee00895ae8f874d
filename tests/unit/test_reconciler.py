"""The jobboard is kept what the list of runs says (F5)."""

from typing import Any
from unittest import mock

from glance_flows import errors
from glance_flows.flows import delete_image
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.persistence.records import POSTED, RUNNING, SUCCESS, Record
from glance_flows.reconciler import Reconciler
from tests.contract.memory_board import MemoryBoard
from tests.contract.worlds import FlowCase

HERE = Needs(stores=("s1",))
NOWHERE = Needs(stores=("s9",))


class TestReconciler(FlowCase):
    """A board with room for three, and one conductor with the store ``s1``."""

    memory = ()

    def configure(self) -> dict[str, Any]:
        return {"glance_flows": {"jobboard_window": 3}}

    def setUp(self) -> None:
        super().setUp()
        self.board = MemoryBoard()
        vars(self.services)["board"] = self.board
        self.persistence = self.services.persistence
        self.persistence.ready()
        self.show("me", "s1")
        self.reconciler = Reconciler(self.services, "me")
        self.serial = 0

    def show(self, name: str, *stores: str) -> None:
        """Let a conductor be at work."""
        self.persistence.conductors.beat(ConductorRecord(name, name, "1", "working", 1, stores))

    def posted(self, needs: Needs = HERE, state: str = POSTED, priority: str = "normal") -> str:
        """Put a run on the list, and not on the board."""
        self.serial += 1
        record = Record(f"run-{self.serial}", delete_image("i"), state, "other:1:a")
        self.persistence.postings.create(record, needs, priority)
        return record.id

    def reconciled(self) -> list[str]:
        """Reconcile and return what was posted by that."""
        before = len(self.board.posted)
        count = self.reconciler.reconcile()
        posted = self.board.posted[before:]
        self.assertEqual(count, len(posted))
        return posted

    def test_a_window(self) -> None:
        """F5: the board holds the first of those that wait, each once, and the next as room is made."""
        runs = [self.posted() for _ in range(5)]
        self.assertEqual(runs[:3], self.reconciled())
        self.assertEqual([], self.reconciled())
        self.persistence.records.end(runs[0], "other:1:a", SUCCESS, None, [])
        self.board.remove(self.board.jobs[runs[0]], "me")
        self.assertEqual([runs[3]], self.reconciled())

    def test_a_board_that_lost_everything(self) -> None:
        """F5: what was lost with the board is on it again, once."""
        runs = [self.posted() for _ in range(2)]
        self.reconciled()
        self.board.jobs.clear()
        self.assertEqual(runs, self.reconciled())

    def test_who_is_not_posted(self) -> None:
        """F5: a run that lives or is over needs no conductor, and one that nobody can do takes nobody's place."""
        self.posted(state=RUNNING)
        self.posted(state=SUCCESS)
        self.posted(NOWHERE)
        mine = self.posted()
        self.assertEqual([mine], self.reconciled())
        self.assertEqual([], self.reconciled())

    def test_a_conductor_for_it_comes(self) -> None:
        """F5: a run that nobody could do is posted as soon as somebody can; without conductors none is."""
        stuck = self.posted(NOWHERE)
        self.assertEqual([], self.reconciled())
        self.show("other", "s9")
        self.assertEqual([stuck], self.reconciled())
        for name in ("me", "other"):
            self.persistence.conductors.leave(name)
        self.board.jobs.clear()
        self.assertEqual([], self.reconciled())

    def test_making_room(self) -> None:
        """F5: on a full board jobs that nobody can do, or of no run, make room for those that can be done."""
        for run_id in (self.posted(NOWHERE), self.posted(NOWHERE), "unknown"):
            self.board.post(run_id, {"run": run_id, "needs": NOWHERE.to_json()})
        runs = [self.posted() for _ in range(4)]
        self.assertEqual(runs[:3], self.reconciled())
        self.assertEqual(set(runs[:3]), self.board.names())
        self.assertEqual([], self.reconciled())

    def test_other_jobs(self) -> None:
        """F5: what is on the board and is no run's is left alone, and takes nobody's place."""
        others = {f"strange-{number}" for number in range(5)}
        for name in others:
            self.board.post(name, None if name.endswith("1") else {"what": "ever"})
        runs = [self.posted() for _ in range(4)]
        self.assertEqual(runs[:3], self.reconciled())
        self.assertEqual({*others, *runs[:3]}, self.board.names())

    def test_a_board_that_is_too_full(self) -> None:
        """F5: where more is on the board than it has room for, and none of it is to go, nothing is added."""
        runs = [self.posted(priority="high") for _ in range(3)]
        for run_id in [*runs, *(self.posted() for _ in range(3))]:
            self.board.post(run_id, {"run": run_id, "needs": HERE.to_json()})
        with mock.patch.object(self.reconciler, "_cleared", return_value=0):
            self.board.jobs.pop(runs[0])
            self.board.jobs.pop(runs[1])
            self.assertEqual([], self.reconciled())

    def test_priority_makes_room(self) -> None:
        """F5: a run of a high priority comes on a board that is full of others; what it displaces comes back later."""
        runs = [self.posted(priority="low") for _ in range(3)]
        self.reconciled()
        urgent = self.posted(priority="high")
        self.assertEqual([urgent], self.reconciled())
        self.assertEqual({urgent, *runs[:2]}, self.board.names())

    def test_claimed_jobs_take_no_room(self) -> None:
        """F5: with as many runs under way as the window is wide, others still find theirs."""
        for run_id in [self.posted() for _ in range(3)]:
            self.reconciled()
            self.board.claim(self.board.jobs[run_id], "other")
            self.persistence.records.take_over(self.persistence.records.get(run_id), "other")
        waiting = [self.posted() for _ in range(4)]
        self.assertEqual(waiting[:3], self.reconciled())
        self.assertEqual(6, self.board.count())

    def test_claimed_jobs_are_left_alone(self) -> None:
        """F5: what somebody works on is not taken off the board, however full that is."""
        stuck = self.posted(NOWHERE)
        self.board.post(stuck, {"run": stuck})
        self.board.claim(self.board.jobs[stuck], "other")
        runs = [self.posted() for _ in range(4)]
        self.assertEqual(runs[:3], self.reconciled())
        self.assertIn(stuck, self.board.names())

    def test_turns(self) -> None:
        """F5: one of all conductors does this at a time."""
        mine = self.posted()
        self.board.my_turn = False
        self.reconciler.turn()
        self.assertEqual([], self.board.posted)
        self.board.my_turn = True
        self.reconciler.turn()
        self.assertEqual([mine], self.board.posted)

    def test_a_look_that_took_long(self) -> None:
        """F5: a look takes at most a tenth of the time, but one whose host stood still delays others little."""
        for taken, expected in ((0.01, 1.5), (1.0, 7.5), (600.0, 22.5)):
            with mock.patch("glance_flows.reconciler.time.monotonic", side_effect=[1000.0, 1000.0 + taken]):
                self.reconciler.turn()
            with mock.patch.object(self.board, "turn", return_value=False) as asked:
                self.reconciler.turn()
            self.assertEqual(expected, asked.call_args.args[1])

    def test_a_turn_is_for_one_that_can_use_it(self) -> None:
        """F5: a conductor that is cut off from the database takes no turn that another could use."""
        away = mock.patch.object(self.persistence.conductors, "alive", side_effect=errors.DatabaseError("away"))
        with away, mock.patch.object(self.board, "turn") as taken:
            self.assertRaises(errors.DatabaseError, self.reconciler.turn)
        taken.assert_not_called()

    def test_turns_without_the_board(self) -> None:
        """F5: where the board gives no turns, each conductor on the list has one after the other."""
        self.board.takes_turns = False
        self.show("first", "s1")
        had: list[int] = []
        with mock.patch.object(self.reconciler, "reconcile", side_effect=lambda: had.append(now) or 0):
            for now in range(1000, 1012, 2):
                with mock.patch("glance_flows.reconciler.time.time", return_value=now + 0.5):
                    self.reconciler.turn()
        self.assertIn(had, ([1000, 1004, 1008], [1002, 1006, 1010]))
        mine = self.posted()
        self.persistence.conductors.leave("first")
        self.reconciler.turn()
        self.assertEqual([mine], self.board.posted)
