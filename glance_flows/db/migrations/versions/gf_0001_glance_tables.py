"""The tables that glance-manage makes."""

from alembic import op

from glance_flows.db import models

revision = "gf_0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    models.metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop the tables."""
    models.metadata.drop_all(op.get_bind())
