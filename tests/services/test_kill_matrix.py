"""The kill matrix with both databases, Glance's and that of the flows' state, on PostgreSQL."""

from tests.contract.kills import KillCase, Kills
from tests.services.servers import POSTGRESQL, database


class TestKills(Kills, KillCase):
    """SIGKILL at every point of every flow; each test has databases of its own, since it looks at all that is there."""

    sparse = 2

    def setUp(self) -> None:
        self.connection = self.enterContext(database(POSTGRESQL))  # type: ignore[attr-defined]
        self.persistence = self.enterContext(database(POSTGRESQL))  # type: ignore[attr-defined]
        super().setUp()
        self.services.persistence.sync()
