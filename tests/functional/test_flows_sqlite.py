"""The flows on SQLite."""

from tests.contract.flows import FlowEnds, FlowLaws, Flows


class TestLaws(FlowLaws, Flows):
    """Every flow reverts cleanly."""


class TestEnds(FlowEnds, Flows):
    """From end to end."""
