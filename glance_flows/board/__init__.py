"""The jobboard: tells conductors that there is work. A hint; what is to be done is in the list of runs (F5).

taskflow's board on Redis, with claims that end unless they are renewed, the oldest job first within a priority, and a
run posted at most once. Its other boards are taken by their URL, as they are.
"""

from glance_flows.board.jobs import JobBoard
from glance_flows.board.reports import Reports

__all__ = ["JobBoard", "Reports"]
