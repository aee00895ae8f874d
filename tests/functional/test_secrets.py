"""F2: what goes wrong is told without credentials, in the log too."""

import logging
from typing import Any

from glance_flows import errors
from glance_flows.task import Leftovers, Task
from tests import base


class Careless(Task):
    """Fails with a URL that holds a password."""

    def execute(self) -> None:
        """Fail."""
        raise OSError("cannot reach s3://key:hush@host/bucket")

    def revert(self) -> None:
        """Fail again."""
        raise OSError("cannot reach s3://key:hush@host/bucket")


class TestLogs(base.TestCase):
    """At the most talkative level."""

    def test_a_task_that_fails(self) -> None:
        """F2: neither the exception nor the log of a failing task tells the password."""
        lines: list[str] = []

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                lines.append(self.format(record))

        listener = Listener()
        log = logging.getLogger("glance_flows")
        level = log.level
        log.addHandler(listener)
        log.setLevel(logging.DEBUG)
        self.addCleanup(log.setLevel, level)
        self.addCleanup(log.removeHandler, listener)
        failure = self.assertRaises(errors.TaskFailed, Careless().execute)
        leftovers: Any = Leftovers()
        Careless().revert(leftovers=leftovers)
        told = "\n".join([str(failure), *leftovers.items, *lines])
        self.assertIn("cannot reach s3://***@host/bucket", told)
        self.assertIn("Traceback", told)
        self.assertNotIn("hush", told)
