"""Frozen values."""

import json

from glance_flows.images import Contents, Image, Location, Staged
from tests import base


class TestImage(base.TestCase):
    def test_stores(self) -> None:
        """C1, S10: the stores with data, in the order they were recorded; pending ones and nameless ones are not."""
        places = (
            Location(1, "file:///1", {"store": "b"}, "active"),
            Location(2, "file:///2", {"store": "a"}, "active"),
            Location(3, "file:///3", {"store": "c"}, "pending_delete"),
            Location(4, "file:///4", {}, "active"),
            Location(5, "file:///5", {"store": 7}, "active"),
        )
        self.assertEqual(["b", "a"], Image("i", "active", locations=places).stores)

    def test_gone(self) -> None:
        """C3, S1: deleted and pending images answer as deleted."""
        images = (Image("i", "active"), Image("i", "active", deleted=True), Image("i", "pending_delete"))
        self.assertEqual([False, True, True], [image.gone for image in images])


class TestStaged(base.TestCase):
    def test_a_staged_file_is_a_fact(self) -> None:
        """F2: it goes through JSON and comes back the same."""
        staged = Staged("/x", Contents(1, "a", "sha512", "b", 7, "raw", 1), True, "s1")
        self.assertEqual(staged, Staged.from_json(json.loads(json.dumps(staged.to_json()))))
