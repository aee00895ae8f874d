"""The stores of a host."""

from pathlib import Path

import fixtures

from glance_flows import errors
from glance_flows.images import Location
from glance_flows.stores import Stores
from glance_flows.testing import MemoryStores, make_conf
from tests import base


class TestStores(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        self.logged = self.useFixture(fixtures.FakeLogger())

    def test_unknown(self) -> None:
        """C6: a store that is not there is told with those that are."""
        self.assertRaisesRegex(errors.StoreUnavailable, "'x'.*: a, b", MemoryStores("a", "b").get, "x")

    def test_whose_location_it_is(self) -> None:
        """S10: the store in the metadata, else the one below whose place the URL lies, else one of its scheme."""
        stores = Stores.from_conf(make_conf(self.root, "a", "b"))
        cases = (
            (f"file://{self.root}/a/x", {"store": "b"}, "b"),
            (f"file://{self.root}/b/x", {}, "b"),
            ("file:///elsewhere/x", {}, "a"),
        )
        for url, metadata, name in cases:
            self.assertEqual(name, stores.holding(Location(1, url, metadata, "active")).name)
        for url, metadata in (("rbd://x", {}), ("file:///a/x", {"store": "gone"})):
            self.assertRaises(errors.StoreUnavailable, stores.holding, Location(1, url, metadata, "active"))

    def test_preference(self) -> None:
        """C11: the default store first, then the heavier; stores of other hosts are left out."""
        stores = MemoryStores("default", "light", "heavy")
        stores.by_name["heavy"].weight = 10
        places = [
            Location(n, f"m://{n}", {"store": s}, "active") for n, s in enumerate(("light", "gone", "heavy", "default"))
        ]
        found = [store.name for _, store in stores.by_preference(tuple(places))]
        self.assertEqual(["default", "heavy", "light"], found)

    def test_two_configurations_in_a_process(self) -> None:
        """D2: glance_store's tables are the process's; ours are each configuration's."""
        first, second = (Stores.from_conf(make_conf(self._folder(n), "a")) for n in ("1", "2"))
        self.assertNotEqual(first.get("a").url_of("x"), second.get("a").url_of("x"))

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder
