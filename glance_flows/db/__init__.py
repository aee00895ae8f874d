"""Every query of the library: Glance's tables, read and written one row, key and state at a time."""

from glance_flows.db.api import Database
from glance_flows.db.claims import Claim

__all__ = ["Claim", "Database"]
