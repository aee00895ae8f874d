"""R8: a deletion, a scrubber and a restore of one image never interleave."""

from collections.abc import Callable
from typing import Any

from glance_flows import errors, states
from glance_flows.flows import delete_image, restore_image
from tests.contract.flows import DATA, Flows


class TestExclusive(Flows):
    """The image is in a store that lets the test in while it deletes."""

    def setUp(self) -> None:
        super().setUp()
        self.image_id = self.world.image()
        self.world.store(self.image_id, DATA, "m1")

    def locks(self) -> list[str]:
        """Return who holds which image."""
        return [line for line in self.world.wrong() if "is held by" in line]

    def while_deleting(self, act: Callable[[], Any]) -> None:
        """Call ``act`` between the marking of the rows and the removal of the data."""
        store = self.store("m1")
        delete = store.delete

        def watched(url: str) -> None:
            act()
            delete(url)

        store.delete = watched  # type: ignore[method-assign]

    def test_restored_in_the_middle(self) -> None:
        """R8: whoever comes second is told, and the deletion goes on to its end."""
        told: list[BaseException] = []

        def restore() -> None:
            try:
                self.runner.run(restore_image(self.image_id))
            except errors.ImageBusy as failure:
                told.append(failure)

        self.while_deleting(restore)
        self.runner.run(delete_image(self.image_id, delayed=False))
        self.assertEqual(1, len(told))
        image = self.db.images.get(self.image_id)
        self.assertEqual((states.DELETED, []), (image.status, self.stores_with(self.image_id)))
        self.assertEqual([], self.locks())

    def test_claimed_by_a_scrubber(self) -> None:
        """R8: an image that a scrubber has between the two steps is left to it, and not brought back."""
        begin = self.db.deletions.begin

        def and_claim(image_id: str) -> Any:
            found = begin(image_id)
            self.assertEqual([image_id], self.db.pending.claim("a-scrubber", [image_id]))
            return found

        self.db.deletions.begin = and_claim  # type: ignore[method-assign]
        self.assertRaises(errors.ImageBusy, self.runner.run, delete_image(self.image_id, delayed=False))
        self.assertEqual(states.PENDING_DELETE, self.db.images.get(self.image_id).status)
        self.assertEqual(["m1"], self.stores_with(self.image_id))

    def test_nothing_is_held_afterwards(self) -> None:
        """S2: neither a deletion that is done nor one that was refused leaves a lock."""
        self.store("m1").fail_delete = errors.StoreInUse("in use.")
        self.assertRaises(errors.StoreInUse, self.runner.run, delete_image(self.image_id, delayed=False))
        self.assertEqual([], self.locks())
        self.store("m1").fail_delete = None
        self.runner.run(delete_image(self.image_id, delayed=False))
        self.assertEqual([], self.locks())
