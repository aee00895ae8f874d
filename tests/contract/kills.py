"""Runs that are killed for real, at every point, whatever databases they run on: concrete classes give them two."""

import os
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from glance_flows import states
from glance_flows.db import models
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, delete_image, import_image, restore_image, scrub
from glance_flows.scrubber import Scrubber
from glance_flows.testing import FlowTestCase
from glance_flows.testing.kill import Attempt, attempt, attempt_for, expire_leases, unfinished
from tests import base
from tests.contract.flows import per_method
from tests.contract.web import WebSite

#: All the points, which takes half an hour; else a sample of them that differs from suite to suite.
ALL = os.environ.get("GLANCE_FLOWS_KILL_ALL") == "1"
RANDOM_KILLS = int(os.environ.get("GLANCE_FLOWS_RANDOM_KILLS", "6"))
RANDOM_MIB = int(os.environ.get("GLANCE_FLOWS_RANDOM_MIB", "16"))
DATA = b"some bytes of an image " * 9000


def sampled(every: int) -> int:
    """Return how many points to take one of."""
    return 1 if ALL else every


class KillCase(FlowTestCase, base.TestCase):
    """A world of three file stores and a web site, whose configuration a child process can read."""

    connection: str | None = None
    persistence: str | None = None
    #: Points are sampled more sparsely where databases are slower.
    sparse = 1

    def setUp(self) -> None:
        self.site = WebSite()
        self.site.setUp()
        self.addCleanup(self.site.cleanUp)
        super().setUp()

    def configure(self) -> dict[str, Any]:
        own = {"persistence_connection": self.persistence} if self.persistence else {}
        return {
            "connection": self.connection,
            "glance_flows": {"state_path": self.root / "state", "chunk_size": 65536, **own},
            "import_filtering_opts": self.site.allow(),
        }


@per_method
class Kills:
    """Every flow, each in its own world of three file stores; mixed with :class:`KillCase` by the concrete classes."""

    def kill(self: Any, make: Callable[[], FlowSpec], every: int, **how: Any) -> None:
        self.assertSurvivesKill(make, every=sampled(every * self.sparse), **how)

    def maker(self: Any, method: str, data: bytes = DATA, **more: Any) -> Callable[[], FlowSpec]:
        """Return what makes a fresh image and a request for it."""

        def make() -> FlowSpec:
            image_id = self.world.image(data if method == "copy-image" else None)
            if method == "copy-image":
                return copy_image(image_id, to=["s2", "s3"], **more)
            if method == "glance-direct":
                self.world.stage(image_id, data)
            else:
                self.site.pages[f"/{image_id}"] = data
                more["uri"] = self.site.url(f"/{image_id}")
            return import_image(image_id, method=method, stores=["s1", "s2"], **more)

        return make

    def each_import(self: Any, method: str) -> None:
        """C19, F3: killed at every point of a run that succeeds."""
        self.kill(self.maker(method), 9)

    def each_import_that_may_lose_a_store(self: Any, method: str) -> None:
        """C19, C13: likewise where each store's copy counts by itself."""
        self.kill(self.maker(method, all_stores_must_succeed=False), 11)

    def each_import_that_fails(self: Any, method: str) -> None:
        """C19, C12: killed at every point of a run that fails at its end, of its undoing too."""
        self.kill(self.maker(method), 13, fuse="publish")

    def each_import_killed_again(self: Any, method: str) -> None:
        """F3: killed again at every point of the resumption."""
        self.kill(self.maker(method), 23, again=True)

    def each_import_that_fails_killed_again(self: Any, method: str) -> None:
        """F3, F6: killed again at every point of the undoing."""
        self.kill(self.maker(method), 29, fuse="publish", again=True)

    def test_delete_now(self: Any) -> None:
        """S2, F3: a deletion goes on where it was killed."""
        self.kill(lambda: delete_image(self.world.image(DATA), delayed=False), 3)

    def test_delete_now_killed_again(self: Any) -> None:
        """S2, F3: however often."""
        self.kill(lambda: delete_image(self.world.image(DATA), delayed=False), 7, again=True)

    def test_delete_that_fails(self: Any) -> None:
        """S2: a deletion that fails before data is touched brings the image back, killed or not."""
        self.kill(lambda: delete_image(self.world.image(DATA), delayed=False), 5, fuse="condemn")

    def test_delayed_delete(self: Any) -> None:
        """S1, F3."""
        self.kill(lambda: delete_image(self.world.image(DATA), delayed=True), 3)

    def pending(self: Any) -> str:
        image_id = self.world.image(DATA, properties={"k": "v"}, tags=("t",))
        self.runner.run(delete_image(image_id, delayed=True))
        return image_id

    def test_restore(self: Any) -> None:
        """R8, F3: wholly pending or wholly active, and after the resumption active."""
        self.kill(lambda: restore_image(self.pending()), 3)

    def test_restore_killed_again(self: Any) -> None:
        """R8, F3: however often."""
        self.kill(lambda: restore_image(self.pending()), 5, again=True)

    def test_restore_that_fails(self: Any) -> None:
        """R8: one that fails leaves the image pending."""
        self.kill(lambda: restore_image(self.pending()), 5, fuse="lookintostores")

    def test_scrub(self: Any) -> None:
        """S14: a page that was killed is finished by the next pass; pages are not persisted."""
        conf = str(self.root / "glance-flows.conf")
        points = attempt(Attempt(conf, scrub([self.pending(), self.pending()]).to_json(), None)) or []
        self.assertNotEqual([], points)
        for number in range(0, len(points), sampled(3 * self.sparse)):
            with self.subTest(killed=f"{number} {points[number]}"):
                images = [self.pending(), self.pending()]
                self.assertIsNone(attempt(Attempt(conf, scrub(images).to_json(), number)))
                self.age_claims()
                Scrubber(self.runner).run_pass()
                self.assertEqual([], self.world.wrong())
                self.assertEqual({states.DELETED}, {self.world.db.images.get(image).status for image in images})

    def age_claims(self: Any) -> None:
        """Make every claim and task as old as if its process had been dead for a day."""
        long_ago = datetime(2000, 1, 1)
        stamps = {"created_at": long_ago, "updated_at": long_ago}

        def change(connection: sa.Connection) -> None:
            props, tasks = models.image_properties, models.tasks
            connection.execute(sa.update(props).where(props.c.name == states.LOCK).values(**stamps))
            connection.execute(sa.update(tasks).values(**stamps))

        self.world.db.engine.write(change)

    def test_random_moments(self: Any) -> None:
        """C19: killed at any moment of an import of many bytes, nothing is left behind."""
        self.services.persistence.ready()
        conf = str(self.root / "glance-flows.conf")
        make = self.maker("web-download", random.randbytes(1024 * 1024) * RANDOM_MIB)
        seconds = attempt_for(Attempt(conf, make().to_json(), None), None)
        for number in range(RANDOM_KILLS):
            moment = random.uniform(0, seconds or 1.0)
            with self.subTest(number=number, moment=moment):
                spec = make()
                attempt_for(Attempt(conf, spec.to_json(), None), moment)
                expire_leases(self.services)
                for run in self.runner.resume():
                    self.assertTrue(run.wait(120))
                self.assertEqual([], [*unfinished(self.services), *self.world.wrong()])
                image_id = spec.arguments["image_id"]
                self.site.pages.pop(f"/{image_id}")
                self.runner.run(delete_image(image_id, delayed=False))
