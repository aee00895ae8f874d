"""The tables that ``db sync`` makes are those of ``glance-manage db sync``, and Glance's own are never touched (D1)."""

from pathlib import Path
from typing import Any

import fixtures
import sqlalchemy as sa

from glance_flows import errors
from glance_flows.db import migrate, models
from glance_flows.db.engine import Engine
from glance_flows.testing import make_conf
from tests.interop.base import SharedGlanceTestCase
from tests.interop.databases import Database

TABLES = ("images", "image_locations", "image_properties", "image_tags", "image_members", "tasks", "task_info")


class TestSchemaOnSQLite(SharedGlanceTestCase):
    backend = "sqlite"
    serve = False

    def _engine(self, url: str) -> Engine:
        engine = Engine(make_conf(Path(self.useFixture(fixtures.TempDir()).path), connection=url))
        self.addCleanup(engine.dispose)
        return engine

    def _own(self) -> Database:
        """Return an empty database of ours."""
        database: Database = self.useFixture(Database(self.backend, Path(self.useFixture(fixtures.TempDir()).path)))
        return database

    def _described(self, url: str) -> dict[str, dict[str, Any]]:
        """Everything that can be known of each table, in the words of its database."""
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        inspector = sa.inspect(engine)
        return {name: self._table(inspector, name, engine.dialect) for name in sorted(inspector.get_table_names())}

    @staticmethod
    def _table(inspector: Any, name: str, dialect: sa.Dialect) -> dict[str, Any]:
        def plain(entry: dict[str, Any]) -> dict[str, Any]:
            return {key: str(value) for key, value in entry.items() if key not in ("comment", "type")}

        columns = {
            entry["name"]: {**plain(entry), "type": entry["type"].compile(dialect)}
            for entry in inspector.get_columns(name)
        }
        indexes = sorted((plain(entry) for entry in inspector.get_indexes(name)), key=str)
        unique = sorted((plain(entry) for entry in inspector.get_unique_constraints(name)), key=str)
        foreign = sorted(
            str((entry["constrained_columns"], entry["referred_table"])) for entry in inspector.get_foreign_keys(name)
        )
        # Glance's tables on MySQL are utf8mb3, which cannot hold every name; ours are utf8mb4.
        options = {key: value for key, value in inspector.get_table_options(name).items() if key.endswith("_engine")}
        return {
            "columns": columns,
            "order": list(columns),
            "indexes": indexes,
            "unique": unique,
            "primary": inspector.get_pk_constraint(name)["constrained_columns"],
            "foreign": foreign,
            "options": options,
        }

    def test_our_tables_are_those_of_glance(self) -> None:
        own = self._own()
        migrate.sync(self._engine(own.url))
        theirs, ours = self._described(self.database.url), self._described(own.url)
        self.assertEqual({*TABLES, migrate.VERSION_TABLE}, set(ours))
        for table in TABLES:
            for what in theirs[table]:
                self.assertEqual(theirs[table][what], ours[table][what], f"{table}: {what}")

    def test_a_glance_is_not_synced(self) -> None:
        before = self._described(self.database.url)
        self.assertLess(set(TABLES), set(before))
        refused = self.assertRaises(errors.ConfigurationError, migrate.sync, self._engine(self.database.url))
        self.assertIn("belongs to a Glance", str(refused))
        self.assertEqual(before, self._described(self.database.url))

    def test_we_know_no_column_that_glance_lacks(self) -> None:
        theirs = self._described(self.database.url)
        for table in models.metadata.sorted_tables:
            self.assertEqual(theirs[table.name]["order"], [column.name for column in table.columns], table.name)

    def test_synced_twice(self) -> None:
        own = self._own()
        revision = migrate.sync(self._engine(own.url))
        before = self._described(own.url)
        self.assertEqual(revision, migrate.sync(self._engine(own.url)))
        self.assertEqual(before, self._described(own.url))


class TestSchemaOnPostgreSQL(TestSchemaOnSQLite):
    backend = "postgresql"


class TestSchemaOnMariaDB(TestSchemaOnSQLite):
    backend = "mysql"
