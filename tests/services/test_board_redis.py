"""The jobboard on Redis."""

import unittest
from typing import Any
from unittest import mock

import fixtures
import redis

from glance_flows import errors
from glance_flows.board import JobBoard
from tests import base
from tests.contract.boards import LEASE, BoardCase, BoardContract, UnreachableContract, names
from tests.contract.worlds import eventually
from tests.services.servers import REQUIRED
from tests.services.test_coordination_redis import REDIS


def _server() -> redis.Redis:
    client = redis.Redis.from_url(REDIS)
    try:
        client.ping()
    except (OSError, redis.RedisError) as failure:
        if REQUIRED:
            raise
        raise unittest.SkipTest(f"no server at {REDIS}: {failure}") from failure
    return client


class OnRedis(BoardCase):
    """Gives a test a board with a name of its own, whose keys go afterwards."""

    url = REDIS

    def setUp(self) -> None:
        self.server = _server()
        self.addCleanup(self.server.close)
        super().setUp()
        self.addCleanup(self.clear)

    def keys(self) -> list[bytes]:
        """Return the keys of the board."""
        return list(self.server.scan_iter(f"{self.name}*"))

    def clear(self) -> None:
        """Lose everything that is on the board."""
        for key in self.keys():
            self.server.delete(key)

    def owner_key(self, name: str) -> bytes:
        """Return the key of a claim."""
        (key,) = (key for key in self.keys() if key.endswith(f"{name}.owned".encode()))
        return key


class TestBoard(BoardContract, OnRedis):
    """F5."""

    def test_a_name_is_posted_once(self) -> None:
        """F5: a run is on the board once, however many post it, and stays as it was first posted."""
        self.post("a", "b")
        self.there.post("a", {"run": "other"}, "low")
        self.assertEqual("a b", names(self.here.waiting()))
        self.assertEqual("a", self.job("a").details["run"])

    def test_renewing_what_the_server_forgot(self) -> None:
        """F5: a claim that the server lost is made again, unless somebody was faster or the job is gone."""
        self.post("a", "b", "c", "d")
        mine = self.there.waiting()
        for job in mine:
            self.there.claim(job, "there")
        for name in "abc":
            self.server.delete(self.owner_key(name))
        self.here.claim(next(job for job in self.here.waiting() if job.name == "b"), "here")
        self.here.remove(next(job for job in self.here.waiting() if job.name == "c"), "here")
        self.assertEqual([True, False, False, True], self.there.jobs.renew(mine, "there"))
        owners = [self.here.jobs.find_owner(job) for job in mine]
        self.assertEqual(["there", "here", None, "there"], owners)
        self.assertLessEqual(self.server.pttl(self.owner_key("b")), LEASE * 1000)

    def test_renewing_lengthens(self) -> None:
        """F5: a renewal gives a claim its whole lease again."""
        self.post("a")
        mine = self.job("a")
        self.there.claim(mine, "there")
        self.server.pexpire(self.owner_key("a"), 500)
        self.there.renew([mine], "there")
        self.assertGreater(self.server.pttl(self.owner_key("a")), LEASE * 500)

    def test_what_is_no_job(self) -> None:
        """F5: something that is no job is left alone and told, and keeps nobody from the jobs."""
        logged = self.useFixture(fixtures.FakeLogger())
        self.post("a")
        self.server.hset(self.here.jobs.listings_key, b"strange", b"\xc1 no message")
        self.server.hset(self.here.jobs.listings_key, b"empty", self.here.jobs._dumps({"name": "empty"}))
        self.assertEqual("a", names(self.there.waiting()))
        self.assertEqual(["a"], [job.name for job in self.there.jobs.iterjobs(ensure_fresh=True)])
        for name in ("strange", "empty"):
            self.assertIn(f"{name!r} is no job, and left alone", logged.output.replace("b'", "'"))
        self.assertEqual({"a", "strange", "empty"}, self.there.names())

    def test_turns(self) -> None:
        """F5: of all who ask one has the turn, until its time is over."""
        self.assertEqual([True, False, False], [b.turn("x", 60) for b in (self.here, self.there, self.here)])
        self.assertTrue(self.there.turn("y", 0.05))
        eventually(lambda: self.here.turn("y", 60), "the turn is over")

    def test_a_server_that_comes_back(self) -> None:
        """F5: a board whose server was away, or lost everything, is used again without a restart."""
        self.post("a")
        with mock.patch.object(
            redis.connection.AbstractConnection, "connect", side_effect=redis.ConnectionError("away")
        ):
            self.here.jobs._client.connection_pool.disconnect()
            self.assertRaises(errors.BoardUnavailable, self.here.names)
        self.assertEqual({"a"}, self.here.names())
        self.clear()
        self.assertEqual(set(), self.here.names())
        self.server.script_flush()
        self.post("a", "b")
        self.assertEqual("a b", names(self.there.waiting()))

    def test_a_connection_that_is_not_made(self) -> None:
        """F5: a board that could not be reached at first is connected to when it can."""
        late = self.board()
        with mock.patch.object(
            redis.connection.AbstractConnection, "connect", side_effect=redis.ConnectionError("away")
        ):
            self.assertRaises(errors.BoardUnavailable, late.names)
        self.assertEqual(set(), late.names())


class TestUnreachable(UnreachableContract, base.TestCase):
    """F2, F5."""

    url = "redis://user:hunter2@127.0.0.1:1/0?password=hunter2"


class TestUrls(base.TestCase):
    """D2, F5: which URLs there are."""

    def open(self, url: str) -> JobBoard:
        """Open a board, unconnected."""
        board = JobBoard(url, "test", LEASE)
        self.addCleanup(board.close)
        return board

    def connections(self, url: str) -> Any:
        """Return the pool of connections that a board would use."""
        return self.open(url).jobs._make_client({"url": url}).connection_pool

    def test_forms(self) -> None:
        """F5: over TCP, with TLS, and over a socket on this host."""
        cases = {
            "redis://name:word@host:1234/5": (redis.Connection, {"host": "host", "port": 1234, "db": 5}),
            "rediss://host": (redis.SSLConnection, {"host": "host"}),
            "unix:///run/redis.sock?db=2": (redis.UnixDomainSocketConnection, {"path": "/run/redis.sock", "db": 2}),
        }
        for url, (kind, expected) in cases.items():
            pool = self.connections(url)
            self.assertIs(kind, pool.connection_class, url)
            found = pool.connection_kwargs
            self.assertEqual(expected, {name: found[name] for name in expected})

    def test_over_a_socket(self) -> None:
        """F5: a socket that is not there is told like a server that is not."""
        board = self.open("unix://user:hunter2@/no/such/socket")
        failure = self.assertRaises(errors.BoardUnavailable, board.count)
        self.assertNotIn("hunter2", str(failure))

    def test_refusals(self) -> None:
        """D2, F2: a URL that cannot be used is refused by the option's name, in a sentence without its password."""
        cases = {
            "amqp://user:hunter2@host": "must begin with one of redis://",
            "127.0.0.1:6379": "must begin with one of redis://",
            "redis://user:hunter2@host:port": "port",
            "redis://user:hunter2@host/0?socket_timeout=soon": "socket_timeout",
            "etcd://user:hunter2@host": "takes no user and password",
            "zookeeper://user:hunter2@host": "takes no user and password",
            "etcd:": "the name of a host",
        }
        for url, words in cases.items():
            failure = self.assertRaises(errors.ConfigurationError, self.open, url)
            self.assertIn("[glance_flows] jobboard_url", str(failure))
            self.assertIn(words, str(failure))
            self.assertNotIn("hunter2", str(failure))

    def test_a_package_that_is_missing(self) -> None:
        """D2, F5: a board whose client is not installed is refused by the package's name."""
        for url, package in (("etcd://host", "etcd3gw"), ("zookeeper://host", "kazoo")):
            with mock.patch.dict("sys.modules", {package: None, f"glance_flows.board.{url.partition(':')[0]}": None}):
                failure = self.assertRaises(errors.ConfigurationError, self.open, url)
                self.assertIn(f"the package {package} is needed", str(failure))
