"""The contract of the database on SQLite."""

from tests.contract import database


class TestSqlite(database.DatabaseCase):
    """An SQLite file."""
