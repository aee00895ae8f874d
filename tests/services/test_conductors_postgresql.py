"""Conductors with both databases on PostgreSQL."""

from tests.contract.conductors import ConductorCase
from tests.contract.takeovers import Takeovers
from tests.services.servers import POSTGRESQL, OnTwoDatabases


class TestTakeovers(OnTwoDatabases, Takeovers, ConductorCase):
    """A conductor that dies or stands still."""

    server = POSTGRESQL
