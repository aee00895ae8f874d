"""A Redis of a test's own, on a port of its own: it can be killed, started again with nothing in it, and emptied."""

import os
import shutil
import socket
import subprocess
import unittest
from pathlib import Path
from typing import Any, Self

from tests.contract.worlds import eventually

REQUIRED = os.environ.get("GLANCE_FLOWS_REQUIRE_SERVICES") == "1"


class RedisServer:
    """Keeps nothing on disk: whatever ends it, it comes back empty.

    :param folder: where it may put what it writes
    :param host: the address that it listens on
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder, self._host = folder, host
        with socket.create_server((host, 0)) as probe:
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://{host}:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers.

        :raises unittest.SkipTest: it is not installed, and services are not required
        """
        program = shutil.which("redis-server")
        if program is None:
            if REQUIRED:
                raise RuntimeError("redis-server is not installed")
            raise unittest.SkipTest("redis-server is not installed")
        words = [program, "--port", str(self._port), "--bind", self._host, "--save", "", "--appendonly", "no"]
        with open(self._folder / f"redis-{self._port}.log", "ab") as log:
            self._process = subprocess.Popen(
                [*words, "--protected-mode", "no", "--dir", str(self._folder)], stdout=log, stderr=log
            )
        eventually(self._answers, "Redis answers")

    def kill(self) -> None:
        """End it at once, and all that it has."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def client(self) -> Any:
        """A connection to it, to be closed by who asks."""
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=5)

    def flush(self) -> None:
        """Empty it."""
        with self.client as client:
            client.flushall()

    def _answers(self) -> bool:
        import redis

        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
