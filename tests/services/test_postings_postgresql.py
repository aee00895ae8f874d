"""The lists of postings and of conductors on PostgreSQL."""

from tests.contract.postings import ConductorsContract, PostingsCase, PostingsContract
from tests.services.servers import POSTGRESQL, OnServer


class TestPostings(OnServer, PostingsContract, PostingsCase):
    """F5."""

    server = POSTGRESQL


class TestConductors(OnServer, ConductorsContract, PostingsCase):
    """F5."""

    server = POSTGRESQL
