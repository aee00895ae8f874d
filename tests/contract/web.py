"""A web server on this host that gives what a test tells it to."""

import functools
import http.server
import threading
from typing import Any

import fixtures


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, site: "WebSite", *args: Any) -> None:
        self._site = site
        super().__init__(*args)

    def do_GET(self) -> None:
        data = self._site.pages.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"") + self._site.withheld))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the runner's output is for the tests."""


class WebSite(fixtures.Fixture):
    """Serves :attr:`pages` by their paths on 127.0.0.1.

    :ivar withheld: bytes announced beyond those that are sent
    """

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, bytes] = {}
        self.withheld = 0

    def _setUp(self) -> None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def url(self, path: str) -> str:
        """Return the address of a page."""
        return f"http://127.0.0.1:{self.port}{path}"

    def allow(self) -> dict[str, Any]:
        """Return the options that let web-download come here."""
        return {"allowed_ports": f"[{self.port}]", "allowed_hosts": "[127.0.0.1]"}
