"""A wire between a program and a server, which can be cut: altogether, or just when the reply to a COMMIT is due."""

import contextlib
import socket
import threading
from typing import Any

_COMMIT = b"COMMIT"


class Wire:
    """Forwards the connections to a port of its own to a server.

    :param host: of the server
    :param port: of the server
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._awaited: bytes | None = None
        self._lost = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def lose_commit_of(self, statement: str) -> None:
        """Cut the next connection on which a transaction with a statement is committed, before the reply arrives."""
        self._lost.clear()
        self._awaited = statement.encode()

    @property
    def lost(self) -> bool:
        """Whether that has happened."""
        return self._lost.is_set()

    def cut(self) -> None:
        """End every connection and accept no other."""
        _end(self._listener)  # closing alone does not wake who waits in accept, and would let one more in
        self._end_all()

    def mend(self) -> None:
        """Accept connections again, on the same port."""
        self._listener = self._listen(self.port)

    def close(self) -> None:
        """End."""
        self.cut()

    def _end_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _end(each)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(self._server)
                except OSError:
                    client.close()
                    continue
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets |= {client, server}
                doomed = threading.Event()
                for work in ((self._ask, client, server, doomed), (self._answer, server, client, doomed)):
                    threading.Thread(target=work[0], args=work[1:], daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        """Forward what the program says."""
        sent = b""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                # A statement may come in two pieces; a transaction begins with the end of the one before.
                sent += data
                awaited = self._awaited
                if awaited is not None and awaited in sent and _COMMIT in data:
                    self._awaited = None
                    doomed.set()
                if _COMMIT in data:
                    sent = b""
                server.sendall(data)
        self._forget(client, server)

    def _answer(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        """Forward what the server says, unless it is the reply that is to be lost."""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if doomed.is_set():
                    self._lost.set()
                    break
                client.sendall(data)
        self._forget(server, client)

    def _forget(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets -= set(sockets)
        for each in sockets:
            _end(each)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
