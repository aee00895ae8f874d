"""Many short calls to stores, any of which may never end."""

import threading
from typing import Any

from glance_flows import errors
from glance_flows.stores.bounded import Patience
from glance_flows.stores.crew import Crew, bounded
from tests import base

SHORT = Patience(stall=0.3, grace=0.2)
LONG = Patience(stall=60, grace=60)
SECONDS = 30


class TestCrew(base.TestCase):
    """Things are lists of names; a store that is asked for ``slow`` hangs until the test lets it go."""

    def setUp(self) -> None:
        super().setUp()
        self.hold = threading.Event()
        self.addCleanup(self.hold.set)
        self.hanging = threading.Event()
        self.returned = threading.Event()
        self.done: list[str] = []
        self.left: list[tuple[str, errors.StoreTimeout]] = []

    def ask(self, name: str) -> str:
        if name == "slow":
            self.hanging.set()
            self.hold.wait(SECONDS)
            self.returned.set()
        if name == "broken":
            raise errors.StoreError("the store is broken.")
        return name

    def act(self, names: list[str]) -> bool:
        while names:
            self.done.append(bounded(lambda: self.ask(names[0]), f"the call for {names[0]}", SHORT))
            names.pop(0)
        return False

    def stuck(self, names: list[str], reason: errors.StoreTimeout) -> list[str] | None:
        self.left.append((names.pop(0), reason))
        return names or None

    def work(self, size: int, *things: list[str]) -> None:
        with Crew(self.act, self.stuck, size) as crew:
            crew.give(things)
            while not crew.wait():
                pass

    def test_everything_is_done(self) -> None:
        """S5: in order where there is one thread; by as many as there are things at most."""
        self.work(1, ["a", "b"], ["c"])
        self.assertEqual(["a", "b", "c"], self.done)
        self.work(8, ["d"], ["e"])
        self.assertEqual({"d", "e"}, set(self.done[3:]))
        self.work(4)

    def test_no_more_at_once_than_asked_for(self) -> None:
        """S5: neither more nor fewer, though things come one after the other."""
        inside, most, lock = 0, 0, threading.Lock()
        three = threading.Barrier(3)

        def act(number: int) -> bool:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            three.wait(SECONDS)
            with lock:
                inside -= 1
            return False

        with Crew(act, lambda thing, reason: None, 3) as crew:
            for number in range(9):
                crew.give([number])
        self.assertEqual((0, 3), (inside, most))

    def test_a_call_that_hangs(self) -> None:
        """S7: the thing is told, what is left of it and the others are done, on one thread as on several."""
        for size in (1, 3):
            self.work(size, ["a"], ["slow", "b"], ["c"])
            ((name, reason),) = self.left
            self.assertEqual("slow", name)
            self.assertRegex(str(reason), "the call for slow made no progress for 0.3 seconds")
            self.assertEqual(["a", "b", "c"], sorted(self.done))
            self.left.clear()
            self.done.clear()

    def test_nothing_comes_of_a_call_that_was_given_up(self) -> None:
        """S7, R8: when it ends after all nothing behind it happens, and its thread does nothing more."""
        self.work(1, ["slow", "a"], ["b"])
        before = list(self.done)
        self.hold.set()
        self.assertTrue(self.returned.wait(SECONDS))
        self.work(1, ["c"])
        self.assertEqual([*before, "c"], self.done)

    def test_one_that_fails(self) -> None:
        """S11: what was raised is raised, and nothing more is begun."""
        failure = self.assertRaises(errors.StoreError, self.work, 1, ["a"], ["broken"], ["b"])
        self.assertIn("broken", str(failure))
        self.assertEqual(["a"], self.done)

    def test_whoever_waits_fails(self) -> None:
        """S11: what is in hand is finished, nothing more is begun, and the failure goes on."""
        reached, go, done = threading.Event(), threading.Event(), []

        class LateCrew(Crew[int]):
            """Lets its hands go when it waits for them."""

            def _wait(self) -> None:
                go.set()
                super()._wait()

        def act(number: int) -> bool:
            reached.set()
            go.wait(SECONDS)
            done.append(number)
            return False

        def fail() -> None:
            with LateCrew(act, lambda thing, reason: None, 1) as crew:
                crew.give([1, 2])
                reached.wait(SECONDS)
                raise errors.DatabaseError("it is away.")

        self.assertRaises(errors.DatabaseError, fail)
        self.assertEqual([1], done)

    def test_whoever_waits_is_called(self) -> None:
        """S14: where there is something to be noted he need not wait until all is done."""
        go = threading.Event()

        def act(number: int) -> bool:
            return number == 1 or not go.wait(SECONDS)

        with Crew(act, lambda thing, reason: None, 1) as crew:
            crew.give([1, 2])
            self.assertFalse(crew.wait())
            go.set()

    def test_calls_of_nobodys_crew(self) -> None:
        """C12: they are bounded as well."""
        self.assertEqual("a", bounded(lambda: self.ask("a"), "it", LONG))
        self.assertRaises(errors.StoreTimeout, bounded, lambda: self.ask("slow"), "it", SHORT)

    def test_a_crew_that_is_given_more_when_it_is_done(self) -> None:
        """S14: a thread that has just ended is not counted on."""
        done: list[Any] = []
        with Crew(lambda thing: bool(done.append(thing)), lambda thing, reason: None, 2) as crew:
            for number in range(200):
                crew.give([number])
                if number % 3 == 0:
                    while not crew.wait():
                        pass
        self.assertEqual(list(range(200)), sorted(done))
