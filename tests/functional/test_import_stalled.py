"""A web server that stops sending, and a run that is cancelled meanwhile."""

import socket
import threading
import time
from typing import Any

from glance_flows import errors
from glance_flows.flows import import_image
from glance_flows.testing import FlowTestCase
from tests import base


class StalledTest(FlowTestCase, base.TestCase):
    """The server sends the first bytes and then nothing."""

    def configure(self) -> dict[str, Any]:
        """Allow the server that is made here."""
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.port = self.server.getsockname()[1]
        return {
            "import_filtering_opts": {"allowed_ports": f"[{self.port}]", "allowed_hosts": "[127.0.0.1]"},
            "glance_flows": {"http_timeout": 600, "chunk_size": 65536},
        }

    def serve(self, sent: threading.Event, over: threading.Event) -> None:
        """Answer one request, never to the end."""
        connection, _ = self.server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(65536))
            sent.set()
            over.wait(60)

    def test_cancelled_while_it_waits(self) -> None:
        """C27: the run stops within seconds, not when the server's time is up, and leaves nothing."""
        sent, over = threading.Event(), threading.Event()
        self.addCleanup(over.set)
        threading.Thread(target=self.serve, args=(sent, over), daemon=True).start()
        image_id = self.world.image()
        before = self.world.picture()
        uri = f"http://127.0.0.1:{self.port}/disk.raw"
        run = self.runner.submit(import_image(image_id, method="web-download", uri=uri))
        self.assertTrue(sent.wait(30))
        next(parts for parts in run.progress() if any(part.done for part in parts))
        started = time.monotonic()
        run.cancel()
        self.assertTrue(run.wait(30), "the run waits for the server")
        self.assertLess(time.monotonic() - started, 10)
        self.assertRaises(errors.Cancelled, run.result)
        self.assertEqual(before, self.world.picture())
