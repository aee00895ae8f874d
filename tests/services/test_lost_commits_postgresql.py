"""C17, C25, F3: the reply to a COMMIT is lost, on PostgreSQL."""

import sqlalchemy as sa

from tests.contract import lost_commits
from tests.contract.wire import Wire
from tests.services.servers import POSTGRESQL, OnServer, database


class TestLostCommits(OnServer, lost_commits.LostCommits):
    """Glance's database and the flows' state, both on the server."""

    server = POSTGRESQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        server = sa.make_url(cls.server)
        cls.wire = cls.enterClassContext(Wire(server.host or "127.0.0.1", server.port or 5432))
        assert cls.connection is not None
        cls.connection = cls.behind(cls.connection, cls.wire)
        cls.state = cls.behind(cls.enterClassContext(database(cls.server)), cls.wire)

    def setUp(self) -> None:
        super().setUp()
        self.services.persistence.sync()
