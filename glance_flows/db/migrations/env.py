"""How Alembic reaches the database: on the engine that ``migrate`` hands over."""

from alembic import context

from glance_flows.db import models
from glance_flows.db.migrate import VERSION_TABLE

with context.config.attributes["engine"].begin() as connection:
    context.configure(connection=connection, target_metadata=models.metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()
