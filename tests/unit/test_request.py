"""An admitted request."""

import json

from glance_flows import Identity, ImportRequest
from tests import base

REQUEST = ImportRequest(
    "i",
    "drop-box",
    ("b", "a"),
    "queued",
    "sha512",
    2,
    "http://h/x",
    False,
    {"path": "x"},
    "o",
    Identity("p", "u", ("r",)),
)


class TestRequest(base.TestCase):
    def test_it_is_a_fact(self) -> None:
        """F2: it goes through JSON and comes back the same."""
        self.assertEqual(REQUEST, ImportRequest.from_json(json.loads(json.dumps(REQUEST.to_json()))))

    def test_as_glance_shows_it(self) -> None:
        """C25: the input of the task row is what a glance-api writes."""
        method = {"name": "drop-box", "path": "x", "uri": "http://h/x"}
        body = {"method": method, "stores": ["b", "a"], "all_stores_must_succeed": False}
        self.assertEqual({"image_id": "i", "import_req": body, "backend": ["b", "a"]}, REQUEST.as_glance_shows_it())

    def test_first_data(self) -> None:
        """C20: only an active image has data before."""
        wanted = {"queued": True, "uploading": True, "active": False}
        made = {status: ImportRequest("i", "m", (), status, "sha512").first_data for status in wanted}
        self.assertEqual(wanted, made)
