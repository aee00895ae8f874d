"""F5: a process that is cut off from its database is told so by the system, in about the time of a lease."""

import os
import socket
from typing import Any

import sqlalchemy as sa

from glance_flows import sessions
from tests import base
from tests.services import servers


class SilentServersTest(base.TestCase):
    def connected(self, server: str, seconds: int, **query: str) -> Any:
        """A connection of the driver's, as an engine for leases of so many seconds makes it."""
        url = sa.make_url(self.enterContext(servers.database(server))).update_query_dict(query)
        engine = sa.create_engine(url)
        self.addCleanup(engine.dispose)
        sessions.end_silent(engine, seconds)
        return self.enterContext(engine.connect()).connection.dbapi_connection

    def options(self, connection: Any) -> dict[str, int]:
        """What the system was told of a connection's socket."""
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            level = socket.IPPROTO_TCP
            return {
                "idle": wire.getsockopt(level, socket.TCP_KEEPIDLE),
                "user": wire.getsockopt(level, socket.TCP_USER_TIMEOUT),
            }

    def test_postgresql(self) -> None:
        """The system ends a connection whose server acknowledges nothing for a lease."""
        connection = self.connected(servers.POSTGRESQL, 6)
        self.assertEqual({"idle": 2, "user": 6000}, self.options(connection))

    def test_the_url_says_more(self) -> None:
        """D2: what an operator has chosen stays."""
        connection = self.connected(servers.POSTGRESQL, 6, tcp_user_timeout="1234")
        self.assertEqual({"idle": 2, "user": 1234}, self.options(connection))

    def test_mariadb(self) -> None:
        """The driver gives up an answer that takes longer than the longest wait for a lock."""
        connection = self.connected(servers.MYSQL, 6)
        self.assertEqual(66, connection._read_timeout)
