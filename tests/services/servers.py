"""Databases on real servers, under random names, dropped afterwards; or the reason why there are none."""

import contextlib
import os
import unittest
import uuid
from collections.abc import Iterator

import sqlalchemy as sa

POSTGRESQL = os.environ.get("GLANCE_FLOWS_TEST_POSTGRESQL", "postgresql+psycopg2://postgres@127.0.0.1/postgres")
MYSQL = os.environ.get("GLANCE_FLOWS_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1/mysql")
REQUIRED = os.environ.get("GLANCE_FLOWS_REQUIRE_SERVICES") == "1"


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    """Make an empty database on a server and give its URL.

    :raises unittest.SkipTest: the server is not there, and services are not required
    """
    url = sa.make_url(server)
    name = f"glance_flows_{uuid.uuid4().hex[:12]}"
    mysql = url.get_backend_name() == "mysql"
    try:
        _administer(url, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if mysql else ""))
    except (sa.exc.OperationalError, ImportError) as failure:
        if REQUIRED:
            raise
        where = url.render_as_string(hide_password=True)
        raise unittest.SkipTest(f"no server at {where}: {str(failure).splitlines()[0]}") from failure
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(url, f"DROP DATABASE {name}" + ("" if mysql else " WITH (FORCE)"))


def _administer(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


class OnServer:
    """Gives a test class a database of its own on :attr:`server`; put it first among the bases."""

    server: str
    connection: str | None

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.connection = cls.enterClassContext(database(cls.server))  # type: ignore[attr-defined]


class OnTwoDatabases:
    """Gives each test two databases of its own on :attr:`server`, Glance's and that of the flows' state."""

    server: str
    connection: str | None
    persistence: str | None

    def setUp(self) -> None:
        self.connection = self.enterContext(database(self.server))  # type: ignore[attr-defined]
        self.persistence = self.enterContext(database(self.server))  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]
