"""What outlives a process: the state of flows, and the list of runs; never in Glance's database (D3, F3)."""

from glance_flows.persistence.postings import ConductorRecord, Needs, Posting
from glance_flows.persistence.records import Record, Records
from glance_flows.persistence.store import Persistence

__all__ = ["ConductorRecord", "Needs", "Persistence", "Posting", "Record", "Records"]
