"""Scrubbers on several hosts that see each other through Redis: hosts are folders of their own on one database."""

import os
import unittest
import uuid
from pathlib import Path
from typing import Any

from glance_flows import states
from glance_flows.coordination import Coordinator
from tests.contract.scrubbers import Processes
from tests.contract.worlds import eventually
from tests.services.servers import REQUIRED

REDIS = os.environ.get("GLANCE_FLOWS_TEST_REDIS", "redis://127.0.0.1:6379")


class TestCoordination(Processes):
    """R2 across hosts."""

    def setUp(self) -> None:
        try:
            import redis

            redis.Redis.from_url(REDIS).ping()
        except (ImportError, OSError, redis.RedisError) as failure:
            if REQUIRED:
                raise
            raise unittest.SkipTest(f"no server at {REDIS}: {failure}") from failure
        # A name of its own in a Redis that others use, and locks that die 3 seconds after their process.
        self.url = f"{REDIS}?namespace=glance-flows-{uuid.uuid4().hex}&lock_timeout=3&timeout=3"
        super().setUp()

    def host(self, name: str, **options: Any) -> Path:
        """Write the configuration of a host."""
        own = {"lease_seconds": 3, "state_path": self.root / name, "coordination_url": self.url}
        return self.conf_file(glance_flows=own, wakeup_time=3600, **options)

    def test_a_scrubber_on_another_host(self) -> None:
        """R2: refused while a scrubber runs on any host, and nothing is changed; a killed one is forgotten."""
        image_id = self.pending()
        here, there = self.host("here"), self.host("there", scrub_time=3600)
        for kill in (False, True):
            daemon = self.scrubber("--daemon", conf=there)
            daemon.says("The scrubber daemon has started")
            before = self.world.picture()
            refused = self.scrubber("--restore", image_id, conf=here)
            self.assertEqual(1, refused.end())
            self.assertIn("ERROR: glance-scrubber is already running\n", refused.err)
            self.assertEqual(before, self.world.picture())
            if kill:
                daemon.kill()
            else:
                daemon.process.terminate()
                self.assertEqual(0, daemon.end(), daemon.err)

        def restored() -> bool:
            return self.scrubber("--restore", image_id, conf=here).end() == 0

        eventually(restored, "the lock of the killed daemon is void")
        self.assertEqual(states.ACTIVE, self.status(image_id))

    def test_many_places(self) -> None:
        """R2, S14: scrubbers do not keep each other out; a restore is alone with itself."""
        coordinator = Coordinator(self.url)
        with coordinator.scrubbing() as first, coordinator.scrubbing() as second:
            self.assertTrue(first.take() and second.take())
            self.assertRaisesRegex(Exception, "already running", coordinator.alone().__enter__)
        with coordinator.alone(), coordinator.scrubbing() as unseen:
            self.assertFalse(unseen.take())

    def test_a_place_that_was_lost(self) -> None:
        """R2: a daemon that started during a restore, or whose backend forgot it, is seen again later."""
        import redis

        coordinator = Coordinator(self.url)
        alone = coordinator.alone()
        alone.__enter__()
        with coordinator.scrubbing() as place:
            self.assertFalse(place.take())
            alone.__exit__(None, None, None)
            self.assertTrue(place.take())
            client = redis.Redis.from_url(REDIS)
            client.delete(*client.keys(f"{self.url.partition('namespace=')[2].partition('&')[0]}*"))
            self.assertTrue(place.take())
            self.assertRaisesRegex(Exception, "already running", coordinator.alone().__enter__)

    def test_no_backend(self) -> None:
        """R2: a backend that is not there is told; nothing is restored unseen."""
        image_id = self.pending()
        self.url = "redis://127.0.0.1:1"
        child = self.scrubber("--restore", image_id, conf=self.host("here"))
        self.assertEqual(1, child.end())
        self.assertIn("[glance_flows] coordination_url", child.err)
        self.assertEqual(states.PENDING_DELETE, self.status(image_id))
