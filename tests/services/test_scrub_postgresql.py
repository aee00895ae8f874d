"""Scrubbing and restoring on PostgreSQL."""

from typing import Any

from tests.contract import restores, scrubs
from tests.services.servers import POSTGRESQL, OnServer


class TestTimes(OnServer, scrubs.ScrubTimes, scrubs.Pendings):
    """When, and how many at once."""

    server = POSTGRESQL


class TestFailures(OnServer, scrubs.ScrubFailures, scrubs.Pendings):
    """Stores and rows that are not as they should be."""

    server = POSTGRESQL


class TestLive(OnServer, scrubs.ScrubLive, scrubs.Pendings):
    """Images that live on."""

    server = POSTGRESQL


class TestChoices(OnServer, scrubs.ScrubChoices, scrubs.Pendings):
    """Dry runs and filters."""

    server = POSTGRESQL


class TestShares(OnServer, scrubs.ScrubShares, scrubs.Pendings):
    """Others at work."""

    server = POSTGRESQL

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"lease_seconds": 3}}


class TestEncrypted(OnServer, scrubs.ScrubEncrypted, restores.RestoreEncrypted, scrubs.Pendings):
    """Encrypted URLs."""

    server = POSTGRESQL

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "metadata_encryption_key": scrubs.KEY}


class TestRestores(OnServer, restores.Restores, scrubs.Pendings):
    """Bringing back."""

    server = POSTGRESQL

    def configure(self) -> dict[str, Any]:
        return {**super().configure(), "glance_flows": {"lease_seconds": 3}}
