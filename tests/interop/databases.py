"""Databases for a Glance, made under a random name and dropped afterwards."""

import os
import uuid
from pathlib import Path
from typing import Any

import fixtures
import sqlalchemy as sa

REQUIRE_SERVICES = "GLANCE_FLOWS_REQUIRE_SERVICES"
POSTGRESQL = os.environ.get("GLANCE_FLOWS_POSTGRESQL_URL", "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres")
MYSQL = os.environ.get("GLANCE_FLOWS_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/")


class ServiceMissingError(Exception):
    """A server these tests need is not reachable from here."""


def services_are_required() -> bool:
    """Tell whether a missing service fails a test, rather than skips it."""
    return os.environ.get(REQUIRE_SERVICES) == "1"


class Database(fixtures.Fixture):
    """An empty database; ``url`` is its SQLAlchemy URL. It is dropped when the fixture ends.

    :param backend: ``sqlite``, ``postgresql`` or ``mysql``
    :param root: the directory of the SQLite file
    :raises ServiceMissingError: the server or its driver is not there
    """

    def __init__(self, backend: str, root: Path) -> None:
        super().__init__()
        self.backend = backend
        self.root = root
        self.url = ""

    def _setUp(self) -> None:
        if self.backend == "sqlite":
            self.url = f"sqlite:///{self.root / 'glance.sqlite'}"
        else:
            self._create(f"glance_interop_{uuid.uuid4().hex[:12]}")
        self._engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one statement in a transaction of its own and return its rows, if it has any."""
        with self._engine.begin() as connection:
            result = connection.execute(sa.text(statement), parameters)
            return [dict(row._mapping) for row in result] if result.returns_rows else []

    def _create(self, name: str) -> None:
        server_url = sa.make_url(POSTGRESQL if self.backend == "postgresql" else MYSQL)
        charset = "" if self.backend == "postgresql" else " CHARACTER SET utf8mb3"
        try:
            _administer(server_url, f"CREATE DATABASE {name}{charset}")
        except (sa.exc.OperationalError, ImportError) as failure:
            raise ServiceMissingError(f"no {self.backend} server: {failure}") from failure
        forced = " WITH (FORCE)" if self.backend == "postgresql" else ""
        self.addCleanup(_administer, server_url, f"DROP DATABASE {name}{forced}")
        self.url = server_url.set(database=name).render_as_string(hide_password=False)


def _administer(server_url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(server_url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
