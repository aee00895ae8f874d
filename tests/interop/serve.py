"""Serve Glance's WSGI application on a listening socket that we inherit.

``glance-api`` itself only says that it was replaced by a WSGI server, so this is that server: the
standard library's, one thread a request. It runs in the interpreter that has Glance, by path, and
hence imports nothing of this project. The configuration is found as Glance finds it, by
``OS_GLANCE_CONFIG_DIR``.

The one thing that is not Glance's: before it saves or removes an image it touches ``saving`` and waits
for a shared lock on ``saves.lock`` in its working directory. A test that holds that lock can act
between Glance's reading of an image and its saving, which otherwise nobody could time.

The socket is inherited rather than opened here because its port must already be in
``worker_self_reference_url`` when Glance reads its configuration.
"""

import fcntl
import functools
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

SECONDS_TO_DRAIN = 5.0
BYTES_TO_DRAIN = 65536


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """``wsgiref`` with a thread for every request, on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket) -> None:
        address = listening.getsockname()
        super().__init__(address, WSGIRequestHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = address
        self.server_name, self.server_port = address[0], address[1]
        self.setup_environ()

    def shutdown_request(self, request: Any) -> None:
        """Read what is left of the request before closing.

        Glance answers some uploads (409, 413) without reading their body. Closing a socket with
        unread bytes resets the connection, and the client would lose the answer.
        """
        try:
            request.shutdown(socket.SHUT_WR)
            request.settimeout(SECONDS_TO_DRAIN)
            while request.recv(BYTES_TO_DRAIN):
                pass
        except OSError:
            pass
        self.close_request(request)


def patient(write: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of Glance's image repository that waits until saves are not held."""

    @functools.wraps(write)
    def waiting(*args: Any, **keywords: Any) -> Any:
        Path("saving").touch()
        with open("saves.lock", "a") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        return write(*args, **keywords)

    return waiting


def main(file_descriptor: int) -> None:
    """Serve until SIGTERM; then let Glance finish or abandon its imports (its ``atexit`` hook)."""
    # Importing it starts Glance: it reads its configuration and opens stores and database.
    import glance.db  # type: ignore[import,unused-ignore]
    from glance.wsgi.api import application  # type: ignore[import,unused-ignore]

    glance.db.ImageRepo.save = patient(glance.db.ImageRepo.save)
    glance.db.ImageRepo.remove = patient(glance.db.ImageRepo.remove)
    server = ThreadedServer(socket.socket(fileno=file_descriptor))
    server.set_app(application)

    def stop(signal_number: int, frame: object) -> None:
        # shutdown() waits for serve_forever(), which runs in the thread this handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
