"""The lists of postings and of conductors on MariaDB."""

from tests.contract.postings import ConductorsContract, PostingsCase, PostingsContract
from tests.services.servers import MYSQL, OnServer


class TestPostings(OnServer, PostingsContract, PostingsCase):
    """F5."""

    server = MYSQL


class TestConductors(OnServer, ConductorsContract, PostingsCase):
    """F5."""

    server = MYSQL
