"""C18: events reach the message bus that Glance is configured for."""

from typing import Any

from glance_flows.flows import copy_image
from glance_flows.testing import FlowTestCase
from tests import base


class MessagingTest(FlowTestCase, base.TestCase):
    """With oslo.messaging's own driver for tests, which keeps what it is given."""

    def configure(self) -> dict[str, Any]:
        """Name the driver, and Glance's section for it."""
        return {
            "glance_flows": {"notification_drivers": "messaging"},
            "oslo_messaging_notifications": {"driver": "test", "topics": "notifications"},
        }

    def test_a_copy(self) -> None:
        """C18: one notification for each store that has the image, and one for the start and the end."""
        # Only the environment of a Glance has it; the tests of the others are found beside this one.
        from oslo_messaging.notify import _impl_test

        _impl_test.reset()
        image_id = self.world.image(b"data")
        self.runner.run(copy_image(image_id, to=["s2", "s3"]))
        sent = [message["event_type"] for _, message, _, _ in _impl_test.NOTIFICATIONS]
        wanted = ["image.import.start", "image.upload", "image.upload", "image.import.end"]
        self.assertEqual(wanted, sent)
        stores = {message["payload"].get("store") for _, message, _, _ in _impl_test.NOTIFICATIONS}
        self.assertEqual({"s2", "s3", None}, stores)
