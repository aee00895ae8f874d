"""Flows whose databases are at the other end of a wire that can be cut."""

from typing import Any

import sqlalchemy as sa

from tests.contract.wire import Wire
from tests.contract.worlds import FlowCase
from tests.services.servers import database


class Wired(FlowCase):
    """Glance's database and the flows' state, both on the server."""

    server: str
    #: Of the flows' state.
    state: str
    wire: Wire
    lease_seconds = 60

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        server = sa.make_url(cls.server)
        ports = {"postgresql": 5432, "mysql": 3306}
        cls.wire = cls.enterClassContext(
            Wire(server.host or "127.0.0.1", server.port or ports[server.get_backend_name()])
        )
        cls.connection = cls._behind(cls.enterClassContext(database(cls.server)))
        cls.state = cls._behind(cls.enterClassContext(database(cls.server)))

    @classmethod
    def _behind(cls, url: str) -> str:
        """Return the URL of a database as it is reached through the wire."""
        parsed = sa.make_url(url).set(host="127.0.0.1", port=cls.wire.port)
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.update_query_dict({"sslmode": "disable"})  # what is encrypted cannot be watched
        return parsed.render_as_string(hide_password=False)

    def setUp(self) -> None:
        super().setUp()
        self.services.persistence.sync()

    def configure(self) -> dict[str, Any]:
        own = {"persistence_connection": self.state, "lease_seconds": self.lease_seconds, "cancel_grace": 2}
        return {"connection": self.connection, "glance_flows": {"state_path": self.root / "state", **own}}
