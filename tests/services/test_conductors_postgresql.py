"""Conductors with both databases on PostgreSQL."""

from tests.contract.conductors import ConductorCase
from tests.contract.crowds import Crowds
from tests.contract.drains import Drains
from tests.contract.placements import Boards, Placements
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


class TestDrains(OnTwoDatabases, Drains, ConductorCase):
    """Conductors that are told to stop."""

    server = POSTGRESQL


class TestPlacements(OnTwoDatabases, Placements, ConductorCase):
    """Which host does what."""

    server = POSTGRESQL


class TestBoards(OnTwoDatabases, Boards, ConductorCase):
    """A board that says other things than the list of runs."""

    server = POSTGRESQL
