"""One import or copy by the library, in a process of its own: ``python -m benchmarks.workload`` prints what it took.

Everything is loaded and has run once before the clock starts.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.measure import Cost, commands, here, settle
from glance_flows.db import models
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, import_image
from glance_flows.runner import Runner
from glance_flows.services import Services
from glance_flows.testing.world import World, make_conf

STORES = ("s1", "s2", "s3")


class Bench:
    """A world in a folder, and images in it whose data is one large file.

    :param root: an empty folder, on the same file system as ``source``
    :param source: the file
    :param options: of the configuration, as :func:`make_conf` takes them
    """

    def __init__(self, root: Path, source: Path, **options: Any) -> None:
        self.root, self.source = root, source
        self.services = Services.from_conf(make_conf(root, *STORES, **options))
        self.world = World(self.services)
        self.runner = Runner(self.services)

    def copy(self) -> Cost:
        """Measure a copy from the first store to the others."""
        self.runner.run(copy_image(self.world.image(b"warm"), list(STORES[1:])))
        image_id = self.stored()
        return self._measured(copy_image(image_id, list(STORES[1:])), 2)

    def download(self, uri: str, warm: str) -> Cost:
        """Measure a web-download into every store."""

        def spec(address: str) -> FlowSpec:
            return import_image(self.world.image(), method="web-download", uri=address, stores=list(STORES))

        self.runner.run(spec(warm))
        return self._measured(spec(uri), 4)

    def command(self, program: str) -> Cost:
        """Measure a copy by the command ``glance-flows copy``, the start of its process included."""
        image_id = self.stored()
        settle(self.source, 2)
        configured = [program, "--config-file", self.root / "glance-flows.conf", "--quiet"]
        cost = commands([*configured, "copy", image_id, "--store", STORES[1], "--store", STORES[2]])
        self._check(image_id)
        return cost

    def stored(self) -> str:
        """Return an active image whose file in the first store is the source; digests are computed, not recorded."""
        image_id = self.world.image(b"")
        path = Path(str(self.services.stores.get(STORES[0]).url_of(image_id)).removeprefix("file://"))
        path.unlink()
        path.hardlink_to(self.source)
        unknown = {"size": self.source.stat().st_size, "checksum": None, "os_hash_value": None}
        update = sa.update(models.images).where(models.images.c.id == image_id).values(**unknown)
        self.services.db.engine.write(lambda connection: connection.execute(update))
        return image_id

    def _measured(self, spec: FlowSpec, copies: int) -> Cost:
        settle(self.source, copies)
        cost = here(lambda: self.runner.run(spec))
        self._check(str(spec.arguments["image_id"]))
        return cost

    def _check(self, image_id: str) -> None:
        """Refuse a measurement of something else than what was asked for."""
        image, size = self.services.db.images.get(image_id), self.source.stat().st_size
        sizes = [(self.root / name / image_id).stat().st_size for name in STORES]
        if image.status != "active" or sorted(image.stores) != list(STORES) or sizes != [size] * len(STORES):
            raise RuntimeError(f"the image is not what it should be: {image}, files of {sizes} bytes")


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for and print it as JSON."""
    parser = argparse.ArgumentParser(description="One import or copy by the library, measured.")
    parser.add_argument("what", choices=("copy", "download", "command"))
    parser.add_argument("root", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--port", type=int, help="where a server on 127.0.0.1 serves the source")
    parser.add_argument("--warm-port", type=int, help="where one serves a small file")
    parser.add_argument("--program", default="glance-flows", help="the command to measure")
    parser.add_argument("--thin", action="store_true", help="leave holes where the image is all zeros")
    asked = parser.parse_args(arguments)
    options: dict[str, Any] = {name: {"filesystem_thin_provisioning": asked.thin} for name in STORES}
    if asked.port:
        allowed = f"[{asked.port},{asked.warm_port}]"
        options["import_filtering_opts"] = {"allowed_ports": allowed, "allowed_hosts": "[127.0.0.1]"}
    bench = Bench(asked.root, asked.source, **options)
    work: dict[str, Callable[[], Cost]] = {
        "copy": bench.copy,
        "download": lambda: bench.download(f"http://127.0.0.1:{asked.port}/", f"http://127.0.0.1:{asked.warm_port}/"),
        "command": lambda: bench.command(asked.program),
    }
    print(json.dumps(work[asked.what]().to_json()))
    bench.runner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
