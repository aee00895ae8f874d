"""One tree of errors, each with its message and its HTTP status, none with a credential."""

import inspect
import pickle

from glance_flows import errors
from glance_flows.images import Location
from glance_flows.ports import Stored
from tests import base

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


class TestTree(base.TestCase):
    def test_each_has_a_message_and_a_status(self) -> None:
        """C2 to C8: the docstring is the default message, a status of 4xx or 5xx says who is at fault."""
        self.assertIn(errors.ImageBusy, TREE)
        for kind in TREE:
            self.assertTrue(issubclass(kind, errors.GlanceFlowsError))
            self.assertEqual(kind.__doc__.splitlines()[0], str(kind()))
            self.assertIn(kind.status // 100, (4, 5))

    def test_what_a_client_is_told(self) -> None:
        """C2 to C9: the statuses that the statements name."""
        told = {
            errors.BadRequest: 400,
            errors.Unauthorized: 401,
            errors.Forbidden: 403,
            errors.NotFound: 404,
            errors.Conflict: 409,
            errors.ImageBusy: 409,
            errors.StoreUnavailable: 409,
            errors.Gone: 410,
            errors.TooLarge: 413,
        }
        self.assertEqual(told, {kind: int(kind.status) for kind in told})

    def test_an_error_is_its_message(self) -> None:
        """F2: what is stored of an error is a message and nothing else."""
        failure = errors.NotFound("there is no image 1.")
        self.assertEqual(("there is no image 1.",), failure.args)
        self.assertEqual(str(failure), str(pickle.loads(pickle.dumps(failure))))


class TestRedact(base.TestCase):
    def test_credentials_are_cut_out(self) -> None:
        """F2: user names, passwords and keys of URLs never reach a message."""
        for url in (
            "s3://key:secret@host/bucket/object",
            "s3+https://AKIA:slash/and+plus=@host/bucket",
            "swift+http://tenant%3Auser:pass@word@host:5000/v3",
            "rbd://user@host/pool",
            "mysql+pymysql://glance:s@crt/x@db/glance",
        ):
            for text in (url, f"cannot read {url!r}: refused", f"{url}, {url}"):
                hidden = str(errors.GlanceFlowsError(text))
                self.assertNotRegex(hidden, "secret|slash|and.plus|pass|word|crt|user|AKIA|glance:")
                self.assertIn("://***@", hidden)

    def test_the_rest_stays(self) -> None:
        """What has no credential is told as it is."""
        for text in ("file:///var/lib/glance/images/1", "mail me@here about http://host/path", "a:b@c"):
            self.assertEqual(text, errors.redact(text))

    def test_values_do_not_print_their_url(self) -> None:
        """F2: a location in a log or a traceback does not tell its URL."""
        url = "s3://key:secret@host/bucket/object"
        self.assertNotIn("secret", repr(Location(1, url, {"store": "s"}, "active")))
        self.assertNotIn("secret", repr(Stored(url, 1, None, None, {})))
