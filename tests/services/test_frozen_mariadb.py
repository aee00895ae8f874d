"""C25: a process that stands still within a transaction, on MariaDB."""

from tests.contract import frozen
from tests.services.servers import MYSQL, OnServer


class TestFrozen(OnServer, frozen.FrozenCase):
    """Glance's database and the flows' state, both on the server."""

    server = MYSQL
