"""Scrubbers as processes, on SQLite."""

from tests.contract import scrubbers


class TestEnds(scrubbers.ScrubberEnds, scrubbers.Processes):
    """Killed, stopped, many at once."""
