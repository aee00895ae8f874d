"""The lists of postings and of conductors on SQLite."""

from tests.contract.postings import ConductorsContract, PostingsCase, PostingsContract


class TestPostings(PostingsContract, PostingsCase):
    """F5."""


class TestConductors(ConductorsContract, PostingsCase):
    """F5."""
