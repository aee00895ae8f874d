"""The contract of the database on MariaDB."""

from tests.contract import database
from tests.services.servers import MYSQL, OnServer


class TestDatabase(OnServer, database.DatabaseCase):
    """A database of its own."""

    server = MYSQL
