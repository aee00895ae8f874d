"""What a jobboard says of its URL (F5, F2)."""

from glance_flows import errors
from glance_flows.board import JobBoard
from tests import base

#: With a password that is told by either of its halves.
WRONG = (
    "redis://user:left?right@host",
    "redis://user:left/right@host:6379/0",
    "redis://user:left#right@host",
    "redis://user:left[right@host",
    "redis://user:left right@host:port",
    "redis://user:12@left?right@host",
    "redis://user:12?left=right@host",
    "etcd://user:left?right@host:2379",
    "zookeeper://user:left/right@host",
    "redis://host:port?password=left@right",
    "user:left?right@host",
    "unix://user:left?right@/run/redis.sock",
)


class TestUrls(base.TestCase):
    """A URL that cannot be used, and one that can."""

    def test_nothing_of_a_password_is_told(self) -> None:
        """F2, F5: where a password makes a URL unreadable, no part of it is told, but what must be done about it."""
        for url in WRONG:
            failure = self.assertRaises(errors.ConfigurationError, JobBoard, url, "name", 10.0)
            text = str(failure)
            self.assertIn("percent-encoded", text, url)
            for part in ("left", "right"):
                self.assertNotIn(part, text, url)

    def test_what_is_told(self) -> None:
        """F5: the place is told, without what may be secret."""
        cases = {
            "redis://user:left@host:port/0?x=y": "redis://***@host:port/0:",
            "redis://host:port/0?password=left": "redis://host:port/0:",
            "host:6379": "host:6379:",
            "redis://host:6379/abc": "redis://host:6379/abc: the database is a number",
            "redis://host:6379/0?foo=bar": "redis://host:6379/0: it has an option that there is not",
        }
        for url, told in cases.items():
            failure = self.assertRaises(errors.ConfigurationError, JobBoard, url, "name", 10.0)
            self.assertIn(f"jobboard_url: {told}", str(failure))

    def test_what_is_taken(self) -> None:
        """F5: a password that is percent-encoded, a socket's path with any character, and a port or none."""
        for url in ("redis://user:a%3Fb%40c@host", "redis://host:6379/0", "unix:///run/redis@1.sock?db=1"):
            JobBoard(url, "name", 10.0).close()
