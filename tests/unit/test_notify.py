"""One catalogue of events (C18)."""

import logging

import fixtures
from oslo_config import cfg

from glance_flows import errors, opts
from glance_flows.notify import EVENTS, Notifier
from tests import base
from tests.contract.worlds import Events


class TestNotifier(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.logged = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.events = Events()
        self.notifier = Notifier(self.events)

    def test_every_event_of_the_catalogue(self) -> None:
        """C18: each goes to the log and to every subscriber, with its fields."""
        for event, names in EVENTS.items():
            self.notifier.emit(event, {name: name.upper() for name in names})
            self.assertEqual([{name: name.upper() for name in names}], self.events.of(event))
            self.assertIn(event, self.logged.output)

    def test_what_is_not_in_it(self) -> None:
        """C18: an event or a field that is not in the catalogue is a mistake of ours, and is sent to nobody."""
        for event, payload in (("image.lost", {}), ("image.upload", {"id": "i"}), ("image.delete.end", {"t": 1})):
            self.assertRaises(ValueError, self.notifier.emit, event, payload)
        self.assertEqual([], self.events.seen)

    def test_credentials_are_not_logged(self) -> None:
        """F2: nor is a URL's password in an error's text."""
        end = dict.fromkeys(EVENTS["image.delete.end"], "")
        self.notifier.emit("image.delete.end", {**end, "error": "no route to s3://key:secret/x@host/bucket"})
        self.assertNotIn("secret", self.logged.output)


class TestDrivers(base.TestCase):
    """``notification_drivers``."""

    def test_one_that_is_not_there(self) -> None:
        """D2: a misspelt driver stops the start with its name."""
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf.set_override("notification_drivers", ["mesaging"], group="glance_flows")
        failure = self.assertRaises(errors.ConfigurationError, Notifier.from_conf, conf)
        self.assertIn("notification_drivers: 'mesaging'", str(failure))
