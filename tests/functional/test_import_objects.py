"""Imports into object and file stores together, recorded in SQLite."""

from tests.contract import objects


class TestObjects(objects.ObjectFlows, objects.ObjectStores):
    """On SQLite."""
