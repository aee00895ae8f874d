"""The stores: the only room that knows glance_store."""

from glance_flows.stores.registry import Stores
from glance_flows.stores.staging import StagingArea
from glance_flows.stores.store import DriverStore

__all__ = ["DriverStore", "StagingArea", "Stores"]
