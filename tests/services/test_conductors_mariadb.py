"""Conductors with both databases on MariaDB."""

from tests.contract.conductors import ConductorCase
from tests.contract.crowds import Crowds
from tests.contract.takeovers import Takeovers
from tests.services.servers import MYSQL, OnTwoDatabases


class TestTakeovers(OnTwoDatabases, Takeovers, ConductorCase):
    """A conductor that dies or stands still."""

    server = MYSQL


class TestCrowds(OnTwoDatabases, Crowds, ConductorCase):
    """Many runs, and many conductors that die."""

    server = MYSQL
