"""``db sync``: Glance's tables for those who have no Glance, by Alembic, with a version table of its own (D1)."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from glance_flows import errors
from glance_flows.db.engine import Engine, translated

VERSION_TABLE = "glance_flows_alembic_version"
THEIRS = "this database belongs to a Glance: its tables are used as they are; glance-manage upgrades them."


def sync(engine: Engine) -> str:
    """Bring the tables of a database of our own up to date and return the revision reached.

    :raises ConfigurationError: the tables are a Glance's: they are used as they are and never altered (D1)
    :raises DatabaseError: the database cannot be reached or written
    """
    connectable = engine.engine
    _create_database_folder(connectable)
    if belongs_to_glance(connectable):
        raise errors.ConfigurationError(THEIRS)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["engine"] = connectable
    with translated():
        command.upgrade(config, "head")
    return version(engine) or ""


def version(engine: Engine) -> str | None:
    """Return the revision of a database of our own; None where there is none."""
    with translated(), engine.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def belongs_to_glance(connectable: sa.Engine) -> bool:
    """Tell whether there are image tables that this library did not make."""
    with translated():
        inspector = sa.inspect(connectable)
        return inspector.has_table("images") and not inspector.has_table(VERSION_TABLE)


def check(engine: Engine) -> None:
    """Make sure that the tables are there.

    :raises ConfigurationError: they are not
    :raises DatabaseError: the database cannot be reached
    """
    with translated():
        there = sa.inspect(engine.engine).has_table("images")
    if not there:
        raise errors.ConfigurationError("the database has no table of images: run glance-flows db sync once.")


def _create_database_folder(connectable: sa.Engine) -> None:
    path = connectable.url.database
    if connectable.dialect.name == "sqlite" and path and path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise errors.DatabaseError(f"the folder of {path} cannot be made: {failure.strerror}.") from failure
