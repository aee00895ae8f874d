"""Conductors with both databases on PostgreSQL."""

from tests.contract.conductors import ConductorCase
from tests.contract.crowds import Crowds
from tests.contract.severed import DatabaseOutages
from tests.contract.takeovers import Takeovers
from tests.services.servers import POSTGRESQL, OnTwoDatabases


class TestTakeovers(OnTwoDatabases, Takeovers, ConductorCase):
    """A conductor that dies or stands still."""

    server = POSTGRESQL


class TestCrowds(OnTwoDatabases, Crowds, ConductorCase):
    """Many runs, and many conductors that die."""

    server = POSTGRESQL


class TestOutages(OnTwoDatabases, DatabaseOutages, ConductorCase):
    """Without Redis, and without a database."""

    server = POSTGRESQL
