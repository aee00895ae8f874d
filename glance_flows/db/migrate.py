"""``db sync``: Glance's tables for those who have no Glance, by Alembic, with a version table of its own (D1)."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from glance_flows import errors
from glance_flows.db.engine import Engine

VERSION_TABLE = "glance_flows_alembic_version"


def sync(engine: Engine) -> str:
    """Bring the tables of a database of our own up to date and return the revision reached.

    :raises ConfigurationError: the tables are a Glance's: they are used as they are and never altered (D1)
    :raises DatabaseError: the database cannot be reached or written
    """
    connectable = engine.engine
    if belongs_to_glance(connectable):
        raise errors.ConfigurationError(
            "this database belongs to a Glance: its tables are used as they are; glance-manage upgrades them."
        )
    _create_database_folder(connectable)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = connectable
    command.upgrade(config, "head")
    return version(engine) or ""


def version(engine: Engine) -> str | None:
    """Return the revision of a database of our own; None where there is none."""
    with engine.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def belongs_to_glance(connectable: sa.Engine) -> bool:
    """Tell whether there are image tables that this library did not make."""
    try:
        inspector = sa.inspect(connectable)
        return inspector.has_table("images") and not inspector.has_table(VERSION_TABLE)
    except sa.exc.SQLAlchemyError as failure:
        raise errors.DatabaseError(f"the database could not be used: {str(failure).splitlines()[0]}") from failure


def check(engine: Engine) -> None:
    """Make sure that the tables are there.

    :raises ConfigurationError: they are not
    """
    inspector = sa.inspect(engine.engine)
    if not inspector.has_table("images"):
        raise errors.ConfigurationError("the database has no table of images: run glance-flows db sync once.")


def _create_database_folder(connectable: sa.Engine) -> None:
    path = connectable.url.database
    if connectable.dialect.name == "sqlite" and path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
