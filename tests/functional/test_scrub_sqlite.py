"""Scrubbing on SQLite."""

from typing import Any

from tests.contract import restores, scrubs


class TestTimes(scrubs.ScrubTimes, scrubs.Pendings):
    """When, and how many at once."""


class TestFailures(scrubs.ScrubFailures, scrubs.Pendings):
    """Stores and rows that are not as they should be."""


class TestLive(scrubs.ScrubLive, scrubs.Pendings):
    """Images that live on."""


class TestChoices(scrubs.ScrubChoices, scrubs.Pendings):
    """Dry runs and filters."""


class TestShares(scrubs.ScrubShares, scrubs.Pendings):
    """Others at work."""

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"lease_seconds": 3}}


class TestEncrypted(scrubs.ScrubEncrypted, restores.RestoreEncrypted, scrubs.Pendings):
    """Encrypted URLs."""

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "metadata_encryption_key": scrubs.KEY}


class TestRestores(restores.Restores, scrubs.Pendings):
    """Bringing back."""

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"lease_seconds": 3}}
