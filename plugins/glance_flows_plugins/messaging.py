"""Notifications on the message bus that Glance uses, by oslo.messaging where it is installed (C18)."""

import socket
from collections.abc import Mapping
from typing import Any


class Messaging:
    """Sends every event as a notification of the priority INFO.

    oslo.messaging is no requirement of this library: the environment of a Glance has it, and brings what it needs.

    :param conf: the configuration, with Glance's own section ``[oslo_messaging_notifications]``
    :raises ImportError: oslo.messaging is not installed
    """

    def __init__(self, conf: Any) -> None:
        import oslo_messaging

        transport = oslo_messaging.get_notification_transport(conf)
        self._notifier = oslo_messaging.Notifier(transport, publisher_id=f"image.{socket.gethostname()}")

    def __call__(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send one event."""
        self._notifier.info({}, event, dict(payload))
