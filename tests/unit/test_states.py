"""The states of an image, and which may follow which."""

from glance_flows import states
from tests import base


class TestStates(base.TestCase):
    def test_changes(self) -> None:
        """C2, S1: what flows do is legal, both ways; what no image ever does is not."""
        legal = (
            (states.QUEUED, states.IMPORTING),
            (states.UPLOADING, states.IMPORTING),
            (states.IMPORTING, states.ACTIVE),
            (states.IMPORTING, states.QUEUED),
            (states.IMPORTING, states.UPLOADING),
            (states.ACTIVE, states.QUEUED),
            (states.ACTIVE, states.PENDING_DELETE),
            (states.PENDING_DELETE, states.ACTIVE),
            (states.PENDING_DELETE, states.DELETED),
        )
        for pair in legal:
            self.assertTrue(states.may_change(*pair), pair)
        for pair in ((states.DELETED, states.ACTIVE), (states.QUEUED, states.PENDING_DELETE), ("x", states.ACTIVE)):
            self.assertFalse(states.may_change(*pair), pair)

    def test_every_state_is_known(self) -> None:
        """Every status that may follow another is a status itself."""
        for follow in states.IMAGE_TRANSITIONS.values():
            self.assertLessEqual(follow, states.IMAGE_TRANSITIONS.keys())

    def test_reserved_properties(self) -> None:
        """C28: the whole namespace is reserved."""
        for name in (states.LOCK, states.IMPORTING_TO, states.FAILED_IMPORT, states.STAGE_HOST, "os_glance_new"):
            self.assertTrue(states.is_reserved_property(name))
        self.assertFalse(states.is_reserved_property("os_distro"))
