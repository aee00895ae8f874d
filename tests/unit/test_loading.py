"""Loading a program."""

import gc

from glance_flows.cli.loading import loading
from tests import base


class LoadingTest(base.TestCase):
    def test_garbage_is_collected_afterwards_as_before(self) -> None:
        """S6, S15: the collector rests while the program is loaded and works later, also after a failure."""
        self.addCleanup(gc.unfreeze)
        with loading():
            self.assertFalse(gc.isenabled())
            there: list[object] = []
        self.assertTrue(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertFalse(any(each is there for each in gc.get_objects()))
        try:
            with loading():
                raise ZeroDivisionError
        except ZeroDivisionError:
            self.assertTrue(gc.isenabled())

    def test_where_there_is_no_collector(self) -> None:
        """S6: a program that does without goes on without."""
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        gc.disable()
        with loading():
            pass
        self.assertFalse(gc.isenabled())
