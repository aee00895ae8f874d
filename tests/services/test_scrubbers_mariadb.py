"""Scrubbers as processes, on a server that can be cut off."""

from tests.contract import scrubbers
from tests.services.servers import MYSQL, OnServer


class TestEnds(OnServer, scrubbers.ScrubberEnds, scrubbers.Processes):
    """Killed, stopped, many at once."""

    server = MYSQL


class TestCutOff(OnServer, scrubbers.ScrubberCutOff, scrubbers.Processes):
    """Without a database."""

    server = MYSQL
