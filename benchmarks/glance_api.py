"""Time the Glance API's own copies and downloads: the numbers our flows are held up against.

Run it with an interpreter that has ``glance``, ``glance_store``, ``fixtures``, ``requests`` and
``psutil``::

    python benchmarks/glance_api.py --size-mib 1024 --json

It starts a real Glance API (SQLite, three file stores under one temporary directory) and times one
image: ``copy`` puts it into s1 with one upload and then has it copied to s2 and s3; ``download``
has it fetched from a local HTTP server to all three. The clock runs from the import request until
the import task has succeeded. Progress is read from the database file, so that watching costs the
server nothing.

The numbers depend on the page cache and the disk: compare only what ran on one machine, in one
directory, one after the other.
"""

import argparse
import json
import multiprocessing
import os
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.interop.glance_client import GlanceClient
from tests.interop.glance_server import GlanceServer, listening_socket
from tests.interop.waiting import wait_until

MIB = 1024 * 1024
STORES = ("s1", "s2", "s3")
TIMEOUT = 3600.0
POLL_SECONDS = 0.02


@dataclass
class Meter:
    """Wall clock, CPU and memory of a process and its children while something is watched."""

    process: psutil.Process
    peak_rss: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    _started: float = 0.0
    _cpu_before: float = 0.0

    def watch(self, finished: Callable[[], object]) -> None:
        """Wait until ``finished()``; the clock started when the last :meth:`start` did."""

        def sampled() -> object:
            self.peak_rss = max(self.peak_rss, sum(p.memory_info().rss for p in self._tree()))
            return finished()

        wait_until(sampled, TIMEOUT, what="the import", interval=POLL_SECONDS)
        self.wall_seconds = time.perf_counter() - self._started
        self.cpu_seconds = self._cpu() - self._cpu_before

    def start(self) -> None:
        """Start the clock."""
        self._cpu_before = self._cpu()
        self._started = time.perf_counter()

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _cpu(self) -> float:
        times = [process.cpu_times() for process in self._tree()]
        return float(sum(one.user + one.system for one in times))


def copy_image_seconds(size_bytes: int, root: Path, **conf: Any) -> dict[str, Any]:
    """Time the API's copy-image of one image from store s1 to s2 and s3.

    :param size_bytes: bytes of random data in the image
    :param root: an empty directory for the data, the stores and the staging area
    :param conf: overrides of ``glance-api.conf``, see :class:`GlanceServer`
    :returns: ``wall_seconds``, ``cpu_seconds`` and ``peak_rss_bytes`` of the server's processes
        during the copy, and what was measured
    :raises RuntimeError: the import failed, or a store does not hold the image afterwards
    """
    data = write_random(root / "data", size_bytes)
    with start_glance(root, **conf) as server:
        image_id = server.admin.create_image()["id"]
        with data.open("rb") as stream:
            server.admin.upload(image_id, stream, store="s1")
        data.unlink()
        meter = timed_import(server, image_id, "copy-image", stores=list(STORES[1:]))
    return report("copy-image", size_bytes, meter)


def web_download_seconds(size_bytes: int, root: Path, **conf: Any) -> dict[str, Any]:
    """Time the API's web-download of one image from a local HTTP server into three stores.

    Arguments, result and errors are those of :func:`copy_image_seconds`; the HTTP server is a
    process of its own and not part of the measured CPU.
    """
    data = write_random(root / "data", size_bytes)
    with serve_file(data) as port:
        conf.setdefault("import_filtering_opts", {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[{port}]"})
        with start_glance(root, **conf) as server:
            image_id = server.admin.create_image()["id"]
            uri = f"http://127.0.0.1:{port}/data"
            meter = timed_import(server, image_id, "web-download", uri=uri, stores=list(STORES))
    return report("web-download", size_bytes, meter)


def start_glance(root: Path, **conf: Any) -> GlanceServer:
    """Return the fixture, to be entered, of a Glance with three file stores under ``root``."""
    conf.setdefault("debug", False)
    stores = {name: root / name for name in STORES}
    return GlanceServer(root / "glance", f"sqlite:///{root / 'glance.sqlite'}", stores, **conf)


def timed_import(server: GlanceServer, image_id: str, method: str, **options: Any) -> Meter:
    """Run one import and return what it took, after checking that all stores hold the image."""
    meter = Meter(psutil.Process(server.pid))
    meter.start()
    server.admin.import_image(image_id, method, **options)
    meter.watch(lambda: import_succeeded(server, image_id))
    check(server.admin, image_id)
    return meter


def import_succeeded(server: GlanceServer, image_id: str) -> bool:
    """Tell whether the image's task has succeeded.

    :raises RuntimeError: it failed
    """
    path = server.db_url.removeprefix("sqlite:///")
    query = "SELECT status, message FROM tasks JOIN task_info ON task_id = id WHERE image_id = ?"
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        rows = database.execute(query, (image_id,)).fetchall()
    finally:
        database.close()
    for status, message in rows:
        if status == "failure":
            raise RuntimeError(f"the import of image {image_id} failed: {message}\n{server.log()}")
    return bool(rows) and all(status == "success" for status, _ in rows)


def check(client: GlanceClient, image_id: str) -> None:
    """Refuse a measurement of an import that did not put the image into every store."""
    record = client.show(image_id)
    if record["status"] != "active" or set(record["stores"].split(",")) != set(STORES):
        raise RuntimeError(f"the import left image {image_id} incomplete: {record}")


def report(what: str, size_bytes: int, meter: Meter) -> dict[str, Any]:
    """Return one measurement as a JSON-able record."""
    return {
        "what": what,
        "size_bytes": size_bytes,
        "wall_seconds": round(meter.wall_seconds, 3),
        "cpu_seconds": round(meter.cpu_seconds, 3),
        "peak_rss_bytes": meter.peak_rss,
        "mib_per_second": round(size_bytes / MIB / meter.wall_seconds, 1),
    }


def write_random(path: Path, size_bytes: int) -> Path:
    """Write a file of random bytes: one block of them, over and over, each time with its number.

    Random enough for stores and hashes, which do not compress, and much faster to make.
    """
    block = bytearray(os.urandom(MIB))
    with path.open("wb") as stream:
        for number, offset in enumerate(range(0, size_bytes, MIB)):
            block[:8] = number.to_bytes(8, "big")
            stream.write(memoryview(block)[: min(MIB, size_bytes - offset)])
    return path


@contextmanager
def serve_file(path: Path) -> Iterator[int]:
    """Serve one file over HTTP from a process of its own; gives the port on 127.0.0.1."""
    with listening_socket() as listening:
        port: int = listening.getsockname()[1]
        context = multiprocessing.get_context("fork")
        server = context.Process(target=serve_for_ever, args=(listening, path), daemon=True)
        server.start()
    try:
        yield port
    finally:
        server.terminate()
        server.join()


def serve_for_ever(listening: socket.socket, path: Path) -> None:
    """Answer every GET with the file, by sendfile: the server must not be what is measured."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as stream:
                self.connection.sendfile(stream)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(listening.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


MEASUREMENTS = {"copy": copy_image_seconds, "download": web_download_seconds}


def main(arguments: list[str] | None = None) -> int:
    """Run the measurements that were asked for and print them; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the image, in MiB")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS), help="default: both")
    parser.add_argument("--parallel-stores", type=int, help="Glance's max_parallel_stores")
    parser.add_argument("--directory", type=Path, help="where the data goes; default: temporary")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    chosen = parser.parse_args(arguments)
    conf: dict[str, Any] = {}
    if chosen.parallel_stores:
        conf["image_import_opts"] = {"max_parallel_stores": chosen.parallel_stores}
    results = []
    for name in [chosen.only] if chosen.only else MEASUREMENTS:
        with tempfile.TemporaryDirectory(dir=chosen.directory) as root:
            results.append(MEASUREMENTS[name](chosen.size_mib * MIB, Path(root), **conf))
    if chosen.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            print("  ".join(f"{key}={value}" for key, value in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
