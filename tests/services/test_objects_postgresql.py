"""Imports into object and file stores together, recorded in PostgreSQL."""

from tests.contract import objects
from tests.services.servers import POSTGRESQL, OnServer


class TestObjects(OnServer, objects.ObjectFlows, objects.ObjectStores):
    """On PostgreSQL."""

    server = POSTGRESQL
