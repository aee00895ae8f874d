"""The renewal of claims on etcd, with a stand-in of its client (F5)."""

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import fixtures

from tests import base

_KEYS = "/taskflow/jobs/board/job"


class Away(Exception):
    """The server cannot be reached."""


class Client:
    """The keys of a server, and the leases that they go with."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.leases: dict[int, int] = {}
        self.trouble: dict[str, Exception] = {}

    def get(self, key: str) -> list[str]:
        if failure := self.trouble.get(key.removesuffix(".lock")):
            raise failure
        return [self.keys[key]] if key in self.keys else []

    def put(self, key: str, value: str) -> None:
        self.keys[key] = value

    def create(self, key: str, value: str, lease: Any = None) -> bool:
        return self.keys.setdefault(key, value) == value

    def lease(self, ttl: int) -> Any:
        number = len(self.leases) + 1
        self.leases[number] = 0
        return Lease(number, self)


class Lease:
    """A lease, and how often it was renewed."""

    def __init__(self, id: int, client: Client) -> None:
        self.id, self._client = id, client

    def refresh(self) -> int:
        self._client.leases[self.id] += 1
        return 1

    def revoke(self) -> None:
        """Nothing is kept of it."""


class TestRenewal(base.TestCase):
    """Three claims."""

    def setUp(self) -> None:
        super().setUp()
        self.logged = self.useFixture(fixtures.FakeLogger())
        stand_in: Any = ModuleType("etcd3gw")
        stand_in.Lease, stand_in.Etcd3Client = Lease, Client
        stand_in.exceptions = SimpleNamespace(
            Etcd3Exception=Away, ConnectionFailedError=Away, ConnectionTimeoutError=Away
        )
        patcher = mock.patch.dict(sys.modules, {"etcd3gw": stand_in})
        patcher.start()
        self.addCleanup(patcher.stop)
        for name in ("glance_flows.board.etcd", "taskflow.jobs.backends.impl_etcd"):
            sys.modules.pop(name, None)
        etcd = importlib.import_module("glance_flows.board.etcd")
        self.board = etcd.EtcdBoard(urlsplit("etcd://host"), "board", 10)
        self.client = self.board._client = Client()
        self.jobs = [self.claimed(name) for name in ("a", "b", "c")]

    def claimed(self, name: str) -> Any:
        """Put a job on the board and claim it."""
        job = self.board._job(
            f"{_KEYS}-{name}",
            json.dumps({"name": name, "uuid": name, "details": {}, "sequence": 1, "priority": "NORMAL"}).encode(),
        )
        self.client.keys[f"{job.key}.data"] = "{}"
        self.board.claim(job, "me")
        return job

    def owner(self, name: str) -> Any:
        """Return who has claimed a job, and how often the lease of the claim was renewed."""
        claim = json.loads(self.client.keys[f"{_KEYS}-{name}.lock"])
        return claim["owner"], self.client.leases.get(claim.get("lease_id"))

    def test_a_claim_that_is_gone(self) -> None:
        """F5: a claim that is gone is made again, and the others are renewed."""
        del self.client.keys[f"{_KEYS}-a.lock"]
        self.board.renew(self.jobs, "me")
        self.assertEqual([("me", 0), ("me", 1), ("me", 1)], [self.owner(name) for name in "abc"])
        self.board.renew(self.jobs, "me")
        self.assertEqual([("me", 1), ("me", 2), ("me", 2)], [self.owner(name) for name in "abc"])

    def test_a_claim_that_another_has(self) -> None:
        """F5: a claim that went to somebody else stays there, and is not renewed for them."""
        self.client.keys[f"{_KEYS}-a.lock"] = json.dumps({"owner": "other", "lease_id": 2})
        self.board.renew(self.jobs[:1], "me")
        self.assertEqual(("other", 0), self.owner("a"))

    def test_a_job_that_is_gone(self) -> None:
        """F5: a job that is over is not claimed again, and nothing is told of it."""
        for end in ("lock", "data"):
            del self.client.keys[f"{_KEYS}-a.{end}"]
        self.board.renew(self.jobs, "me")
        self.assertEqual([("me", 1), ("me", 1)], [self.owner(name) for name in "bc"])
        self.assertEqual("", self.logged.output)

    def test_trouble_with_one(self) -> None:
        """F5: trouble with one claim is told, and keeps none of the others from being renewed."""
        self.client.trouble[f"{_KEYS}-a"] = ValueError("odd")
        self.board.renew(self.jobs, "me")
        self.assertEqual([("me", 1), ("me", 1)], [self.owner(name) for name in "bc"])
        self.assertIn("The claim of job a could not be renewed: ValueError('odd')", self.logged.output)

    def test_a_server_that_is_away(self) -> None:
        """F5: a server that cannot be reached is asked once, not for each claim."""
        self.client.trouble = {f"{_KEYS}-{name}": Away(name) for name in "abc"}
        self.assertEqual("a", str(self.assertRaises(Away, self.board.renew, self.jobs, "me")))
