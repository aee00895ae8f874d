"""The flows on MariaDB."""

from tests.contract.flows import FlowEnds, FlowLaws, Flows
from tests.services.servers import MYSQL, OnServer


class TestLaws(OnServer, FlowLaws, Flows):
    """Every flow reverts cleanly."""

    server = MYSQL


class TestEnds(OnServer, FlowEnds, Flows):
    """From end to end."""

    server = MYSQL
