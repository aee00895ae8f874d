"""A web server for one file, on this host only, for as long as a block runs."""

import contextlib
import http.server
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

HOST = "127.0.0.1"
_IDLE_SECONDS = 60.0


@contextlib.contextmanager
def serving(file: Path, ports: Iterable[int] = ()) -> Iterator[str]:
    """Serve a file and yield its URL.

    :param ports: tried in turn before any free port is taken
    """
    server = _bound(_handler(file), ports)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="web", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/{quote(file.name)}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bound(handler: type[http.server.BaseHTTPRequestHandler], ports: Iterable[int]) -> Any:
    for port in (*ports, 0):
        with contextlib.suppress(PermissionError) if port == 0 else contextlib.suppress(OSError):
            return http.server.ThreadingHTTPServer((HOST, port), handler)
    raise OSError(f"no port of {HOST} can be listened on")


def _handler(file: Path) -> type[http.server.BaseHTTPRequestHandler]:
    class OneFile(http.server.BaseHTTPRequestHandler):
        """Answers every request with the file."""

        timeout = _IDLE_SECONDS

        def do_GET(self) -> None:
            """Send the file."""
            with open(file, "rb") as source:
                size = file.stat().st_size
                self.send_response(http.HTTPStatus.OK)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(size))
                self.end_headers()
                # Whoever stops reading, stops the import that he will hear about.
                with contextlib.suppress(OSError):
                    shutil.copyfileobj(source, self.wfile, 1024 * 1024)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return OneFile
