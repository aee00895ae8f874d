"""The flows on PostgreSQL."""

from tests.contract.flows import FlowEnds, FlowLaws, Flows
from tests.services.servers import POSTGRESQL, OnServer


class TestLaws(OnServer, FlowLaws, Flows):
    """Every flow reverts cleanly."""

    server = POSTGRESQL


class TestEnds(OnServer, FlowEnds, Flows):
    """From end to end."""

    server = POSTGRESQL
