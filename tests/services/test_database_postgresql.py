"""The contract of the database on PostgreSQL."""

from tests.contract import database
from tests.services.servers import POSTGRESQL, OnServer


class TestDatabase(OnServer, database.DatabaseCase):
    """A database of its own."""

    server = POSTGRESQL
