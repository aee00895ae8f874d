"""Placement: what a run needs, and who has it (F5)."""

from typing import Any

from glance_flows import states
from glance_flows.flows import copy_image, delete_image, import_image
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.placement import needs_of, unmet, waits_for
from tests import base
from tests.contract.worlds import FlowCase

METHODS = ("web-download", "glance-direct")


def lacking(needs: Needs, **values: Any) -> str | None:
    """Return what a host with two stores lacks."""
    return unmet(needs, "here", ("s1", "s2"), METHODS, **values)


class TestUnmet(base.TestCase):
    """What a host lacks."""

    def test_stores(self) -> None:
        """F5: every store that is written or deleted from must be there; the first that is not is named."""
        self.assertIsNone(lacking(Needs(stores=("s1", "s2"))))
        self.assertEqual("the store s3", lacking(Needs(stores=("s1", "s3", "s4"))))

    def test_sources(self) -> None:
        """F5: of the stores that can be read from one is enough; without any of them they are all named."""
        self.assertIsNone(lacking(Needs(sources=("s9", "s2"))))
        self.assertEqual("a store to read from: s8 or s9", lacking(Needs(sources=("s8", "s9"))))

    def test_methods(self) -> None:
        """F5: the import method must be there."""
        self.assertIsNone(lacking(Needs(method="web-download")))
        self.assertEqual("the import method mine", lacking(Needs(method="mine")))

    def test_staged_data(self) -> None:
        """F5: staged data is on its own host, or on any that shares its staging area, as only that host can tell."""
        self.assertIsNone(lacking(Needs(staged="here")))
        self.assertEqual("the staging area of there", lacking(Needs(staged="there")))
        self.assertEqual("the staging area of there", lacking(Needs(staged="there"), staged=lambda: False))
        self.assertIsNone(lacking(Needs(staged="there"), staged=lambda: True))

    def test_through_json(self) -> None:
        """F5: what is needed goes through JSON unchanged."""
        needs = Needs(("a", "b"), ("c",), "m", "h")
        self.assertEqual(needs, Needs.from_json(needs.to_json()))


class TestWaits(base.TestCase):
    """What an operator is told."""

    @staticmethod
    def conductor(name: str, *stores: str) -> ConductorRecord:
        """Return a conductor."""
        return ConductorRecord(name, name, "1", "working", 1, stores, METHODS)

    def test_no_conductor(self) -> None:
        """F5: with nobody at work, how to change that."""
        self.assertIn("start one with: glance-flows conductor", waits_for(Needs(), []))

    def test_no_room(self) -> None:
        """F5: where some conductor could do it, it waits for room, or for one that finds nothing in the way."""
        alive = [self.conductor("a", "s1"), self.conductor("b", "s2")]
        told = waits_for(Needs(stores=("s2",)), alive)
        self.assertEqual("a conductor that has room for it, or that refused it a moment ago: its log says why", told)

    def test_nobody_has_it(self) -> None:
        """F5: where none could, what each of them lacks is told, once."""
        alive = [self.conductor("a", "s1"), self.conductor("b", "s1"), self.conductor("c", "s2")]
        told = waits_for(Needs(stores=("s1", "s2")), alive)
        self.assertEqual("no conductor that is alive has the store s1, nor the store s2", told)


class TestNeeds(FlowCase):
    """What each flow needs, once it is admitted."""

    def needs(self, spec: Any) -> Needs:
        """Return what a request needs."""
        return needs_of(self.runner._resolved(spec, None), self.services)

    def test_a_copy(self) -> None:
        """F5: a copy needs the stores it writes to, and one of those that have the image."""
        image_id = self.world.image(b"x")
        self.assertEqual(Needs(("s2", "m1"), ("s1",), "copy-image"), self.needs(copy_image(image_id, to=["s2", "m1"])))

    def test_a_deletion(self) -> None:
        """F5: a deletion needs every store that has the image, each once, and no method."""
        image_id = self.world.image(b"x")
        self.runner.run(copy_image(image_id, to=["s2"]))
        self.assertEqual(Needs(("s1", "s2")), self.needs(delete_image(image_id)))

    def test_a_download(self) -> None:
        """F5: a download needs its method and the stores, and nothing that is staged."""
        spec = import_image(self.world.image(), method="web-download", stores=["s1"], uri="http://example.org/x")
        self.assertEqual(Needs(("s1",), (), "web-download"), self.needs(spec))

    def test_data_that_was_staged_here(self) -> None:
        """F5: what was staged on this host is needed from this host."""
        image_id = self.world.image()
        self.world.stage(image_id, b"x")
        found = self.needs(import_image(image_id, method="glance-direct", stores=["s1"]))
        self.assertEqual(Needs(("s1",), (), "glance-direct", self.services.host), found)

    def test_data_that_was_staged_elsewhere(self) -> None:
        """F5: what another host staged is needed from the host that the image names."""
        image_id = self.world.image()
        self.world.stage(image_id, b"x")
        self.services.staging.path(image_id).unlink()
        self.insert("image_properties", image_id=image_id, name=states.STAGE_HOST, value="http://other.example:9292")
        found = self.needs(import_image(image_id, method="glance-direct", stores=["s1"]))
        self.assertEqual("other.example", found.staged)
