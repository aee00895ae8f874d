"""Web servers that send other data than they were asked for."""

import gzip
import http.server
import threading
from typing import Any

from glance_flows import errors, states
from glance_flows.flows import import_image
from glance_flows.testing import FlowTestCase
from tests import base

DATA = bytes(100_000)
ANSWERS = {
    "/gzip": ({"Content-Encoding": "gzip"}, gzip.compress(DATA)),
    "/negative": ({"Content-Length": "-5"}, b""),
    "/plain": ({"Content-Encoding": "identity"}, DATA),
}


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        headers, body = ANSWERS[self.path]
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class EncodedTest(FlowTestCase, base.TestCase):
    """C23: what is stored is what the server has, or nothing."""

    def configure(self) -> dict[str, Any]:
        """Start a server and allow it."""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return {
            "import_filtering_opts": {"allowed_ports": f"[{self.server.server_port}]", "allowed_hosts": "[127.0.0.1]"}
        }

    def fetch(self, path: str) -> str:
        """Import a path and return the image's id."""
        image_id = self.world.image()
        uri = f"http://127.0.0.1:{self.server.server_port}{path}"
        run = self.runner.submit(import_image(image_id, method="web-download", uri=uri))
        run.wait(30)
        self.error = run.error
        return image_id

    def test_encoded_data_is_refused(self) -> None:
        """C23: a compressed body is not the image."""
        image_id = self.fetch("/gzip")
        self.assertIsInstance(self.error, errors.SourceFailed)
        self.assertIn("encoded as gzip", str(self.error))
        self.assertEqual(states.QUEUED, self.world.db.images.get(image_id).status)

    def test_a_length_that_cannot_be(self) -> None:
        """C23: a negative length is an error, not an empty image."""
        image_id = self.fetch("/negative")
        self.assertIsInstance(self.error, errors.SourceFailed)
        self.assertEqual(states.QUEUED, self.world.db.images.get(image_id).status)

    def test_data_as_it_is(self) -> None:
        """C23: an encoding that changes nothing is none."""
        image_id = self.fetch("/plain")
        self.assertIsNone(self.error)
        self.assertEqual(len(DATA), self.world.db.images.get(image_id).size)
