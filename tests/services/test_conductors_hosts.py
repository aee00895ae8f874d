"""Conductors on hosts with addresses of their own, both databases on PostgreSQL; needs root."""

from tests.contract.conductors import ConductorCase
from tests.contract.hosts import Hosts
from tests.services.servers import POSTGRESQL, OnTwoDatabases


class TestHosts(OnTwoDatabases, Hosts, ConductorCase):
    """Cut off from Redis, or from the databases."""

    server = POSTGRESQL
