"""C25: a process that stands still within a transaction, on PostgreSQL."""

from tests.contract import frozen
from tests.services.servers import POSTGRESQL, OnServer


class TestFrozen(OnServer, frozen.FrozenCase):
    """Glance's database and the flows' state, both on the server."""

    server = POSTGRESQL
