"""The kill matrix with both databases, Glance's and that of the flows' state, on PostgreSQL."""

from tests.contract.kills import KillCase, Kills
from tests.services.servers import POSTGRESQL, OnServer, database


class TestKills(OnServer, Kills, KillCase):
    """SIGKILL at every point of every flow."""

    server = POSTGRESQL
    sparse = 2

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.persistence = cls.enterClassContext(database(cls.server))  # type: ignore[attr-defined]

    def setUp(self) -> None:
        super().setUp()
        self.services.persistence.sync()
