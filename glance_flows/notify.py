"""One catalogue of events, and who is told: the log always, and Glance's message bus where one is configured (C18)."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from oslo_config import cfg
from stevedore import driver

from glance_flows import errors

LOG = logging.getLogger(__name__)
NAMESPACE = "glance_flows.notification_drivers"

#: Every event and the fields of its payload.
EVENTS: Final[dict[str, tuple[str, ...]]] = {
    "image.import.start": ("id", "run", "flow", "method", "stores"),
    "image.upload": ("id", "run", "store", "size", "checksum", "os_hash_algo", "os_hash_value"),
    "image.import.end": ("id", "run", "flow", "method", "stores", "state", "error"),
    "image.restore": ("id", "run", "properties", "tags", "members"),
    "image.restore.start": ("id", "run", "flow"),
    "image.restore.end": ("id", "run", "flow", "state", "error"),
    "image.delete.start": ("id", "run", "flow"),
    "image.delete.end": ("id", "run", "flow", "state", "error"),
}

Subscriber = Callable[[str, Mapping[str, Any]], None]


class Notifier:
    """Hands each event to every subscriber; what a subscriber does wrong is logged and never fails a flow.

    :param subscribers: called with the event and its payload
    """

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = [log_event, *subscribers]

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """Return a notifier with the drivers that ``[glance_flows] notification_drivers`` names.

        A driver is a callable in anybody's package, registered as an entry point of
        ``glance_flows.notification_drivers``; it is called with the configuration and returns a subscriber.

        :raises ConfigurationError: one is misspelt or cannot be used here
        """
        return cls(*(_driver(name, conf) for name in conf.glance_flows.notification_drivers))

    def emit(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send one event.

        :raises ValueError: the event is not in the catalogue, or its payload has other fields
        """
        if EVENTS.get(event) != tuple(payload):
            raise ValueError(f"the event {event} with the fields {tuple(payload)} is not in the catalogue")
        for subscriber in self._subscribers:
            try:
                subscriber(event, payload)
            except Exception:
                LOG.exception("A subscriber failed on the event %s", event)


def _driver(name: str, conf: cfg.ConfigOpts) -> Subscriber:
    try:
        manager: Any = driver.DriverManager(NAMESPACE, name, invoke_on_load=True, invoke_args=(conf,))
    except (RuntimeError, ImportError) as failure:
        raise errors.ConfigurationError(
            f"[glance_flows] notification_drivers: {name!r} cannot be used: {failure}."
        ) from failure
    subscriber: Subscriber = manager.driver
    return subscriber


def log_event(event: str, payload: Mapping[str, Any]) -> None:
    """Write one line a business event, with the ids to search for."""
    LOG.info("%s %s", event, errors.redact(json.dumps(payload)))
