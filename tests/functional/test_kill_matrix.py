"""The kill matrix on SQLite."""

from tests.contract.kills import KillCase, Kills


class TestKills(Kills, KillCase):
    """SIGKILL at every point of every flow."""
