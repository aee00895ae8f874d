"""The public test kit: a world of real parts in a folder, stores that fail on demand, and the laws as assertions."""

from glance_flows.testing.case import FlowTestCase
from glance_flows.testing.memory import MemoryStore, MemoryStores
from glance_flows.testing.world import World, make_conf

__all__ = ["FlowTestCase", "MemoryStore", "MemoryStores", "World", "make_conf"]
