"""F3, C19: the databases are away for longer than a lease, on PostgreSQL."""

from tests.contract import outages
from tests.services.servers import POSTGRESQL


class TestOutages(outages.Outages):
    """Between the program and the server there is a wire."""

    server = POSTGRESQL
