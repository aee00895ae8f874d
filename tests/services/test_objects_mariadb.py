"""Imports into object and file stores together, recorded in MariaDB."""

from tests.contract import objects
from tests.services.servers import MYSQL, OnServer


class TestObjects(OnServer, objects.ObjectFlows, objects.ObjectStores):
    """On MariaDB."""

    server = MYSQL
