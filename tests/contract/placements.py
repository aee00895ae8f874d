"""Which host does what, and a board on which things lie that nobody can do; mixed with :class:`ConductorCase`."""

import json
import uuid
from typing import Any

from taskflow.jobs import backends

from glance_flows.flows import copy_image, import_image
from glance_flows.persistence.records import POSTED
from tests.contract.conductors import DATA
from tests.contract.scrubbers import Child
from tests.contract.worlds import eventually
from tests.functional.cli import program


class Placements:
    """Host ``a`` lacks the store s3; runs are posted on host ``a``, and the board has room for three."""

    def configure(self: Any) -> dict[str, Any]:
        options: dict[str, Any] = super().configure()  # type: ignore[misc]
        return {**options, "glance_flows": {**options["glance_flows"], "host": "a", "jobboard_window": 3}}

    def copy(self: Any, store: str) -> str:
        """Post a copy to a store and return its id."""
        return str(self.runner.post(copy_image(self.world.image(DATA), to=[store])).id)

    def begin(self: Any, host: str, *stores: str, **options: Any) -> None:
        """Start a conductor and wait until it is at work."""
        self.ready(self.conduct(host, conf=self.conf_of(host, *stores, **options)))

    def waits(self: Any, run_id: str) -> tuple[str, str | None]:
        """Return the state of a run, and what it waits for, as ``run show`` tells them."""
        file = str(self.root / "glance-flows.conf")
        child = Child([*program(), "--config-file", file, "run", "show", run_id, "-f", "json"], self.root)
        self.addCleanup(child.kill)
        self.assertEqual(0, child.end(), child.err)
        shown = json.loads(child.out)
        return shown["state"], shown["waits"]

    def hosts(self: Any, *run_ids: str) -> set[str]:
        """Return the hosts that did runs."""
        return {self.worker(run_id)[0].host for run_id in run_ids}

    def test_a_store_that_one_host_has(self: Any) -> None:
        """F5: a run waits for a host that has what it needs, and says so; others do not wait behind it."""
        wanting = self.copy("s3")
        self.assertEqual(
            ("posted", "no conductor is alive; start one with: glance-flows conductor"), self.waits(wanting)
        )
        self.begin("a", "s1", "s2")
        self.over(self.copy("s2"))
        self.assertEqual(("posted", "no conductor that is alive has the store s3"), self.waits(wanting))
        self.begin("b")
        self.over(wanting)
        self.assertEqual({"b"}, self.hosts(wanting))
        self.assertEqual("success", self.waits(wanting)[0])
        self.assertWhole(wanting)

    def test_a_board_full_of_what_nobody_can_do(self: Any) -> None:
        """F5: runs that wait for a host do not take the places of those that could run."""
        stuck = [self.copy("s3") for _ in range(4)]
        free = [self.copy("s2") for _ in range(2)]
        self.begin("a", "s1", "s2")
        self.over(*free)
        self.assertEqual({POSTED}, {self.record(run_id).state for run_id in stuck})
        self.begin("b")
        self.over(*stuck)
        self.assertEqual({"b"}, self.hosts(*stuck))
        self.assertWhole(*stuck, *free)

    def staged(self: Any) -> str:
        """Post an import of data that is staged on host ``a``, and return its id."""
        image_id = self.world.image()
        self.world.stage(image_id, DATA)
        return str(self.runner.post(import_image(image_id, method="glance-direct", stores=["s2"])).id)

    def test_data_staged_on_one_host(self: Any) -> None:
        """F5, C20: data that is staged on a host is imported there, and what others can do does not wait behind."""
        runs = [self.staged() for _ in range(4)]
        other = self.copy("s2")
        own_staging = {"os_glance_staging_store": {"filesystem_store_datadir": self.root / "elsewhere"}}
        self.begin("b", **own_staging)
        self.over(other)
        self.assertEqual(("posted", "no conductor that is alive has the staging area of a"), self.waits(runs[0]))
        self.begin("a")
        self.over(*runs)
        self.assertEqual({"a"}, self.hosts(*runs))
        self.assertWhole(*runs, other)


class Boards:
    """A board that says other things than the list of runs."""

    def by_hand(self: Any, name: str) -> None:
        """Put a job on the board by taskflow's own means, which know of no run and make a new job of each call."""
        conf = {"board": "redis", "url": self.redis.url, "namespace": self.services.conf.glance_flows.jobboard_name}
        with backends.backend(self.services.conf.glance_flows.jobboard_name, conf) as board:
            board.post(name, details=self.services.persistence.postings.of([name])[name].details)

    def pair(self: Any) -> None:
        """Start two conductors."""
        self.ready(*[self.conduct(host) for host in ("a", "b")])

    def copy(self: Any) -> str:
        """Post a copy and return its id."""
        return str(self.runner.post(copy_image(self.world.image(DATA), to=["s2"])).id)

    def test_posted_twice(self: Any) -> None:
        """F5: a run that is on the board three times is run once."""
        runs = [self.copy() for _ in range(5)]
        for run_id in runs:
            self.by_hand(run_id)
            self.by_hand(run_id)
        self.pair()
        self.over(*runs)
        self.assertWhole(*runs)
        self.assertEqual(sorted(runs), sorted(each["run"] for each in self.happened("image.import.start")))

    def test_no_such_run(self: Any) -> None:
        """F5: what is on the board and on no list is taken off it, and holds nobody up."""
        first = self.copy()
        details = self.services.persistence.postings.of([first])[first].details
        strays = {str(uuid.uuid4()) for _ in range(3)}
        for name in strays:
            self.services.board.post(name, details)
        self.pair()
        self.over(first, self.copy())
        eventually(lambda: not self.services.board.names(), "the strays are gone")
        self.assertWhole(first)

    def test_over_already(self: Any) -> None:
        """F5: the job of a run that is over is taken off the board, and not done again."""
        run_id = self.copy()
        self.pair()
        self.over(run_id)
        before = self.mark(self.record(run_id).image_id, "s2")
        eventually(lambda: not self.services.board.names(), "the board is empty")
        details = self.services.persistence.postings.of([run_id])[run_id].details
        self.services.board.post(run_id, details)
        eventually(lambda: not self.services.board.names(), "the board is empty again")
        self.assertEqual(before, self.mark(self.record(run_id).image_id, "s2"))
        self.assertEqual(1, len(self.happened("image.import.start")))
        self.assertWhole(run_id)
