"""The kill matrix on SQLite."""

from tests.contract.kills import Kills


class TestKills(Kills):
    """SIGKILL at every point of every flow."""
