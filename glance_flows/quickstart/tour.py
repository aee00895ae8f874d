"""The tour: one image is imported into two stores, copied to a third, and every copy is compared with the record."""

import contextlib
import hashlib
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oslo_config import cfg

from glance_flows import errors
from glance_flows.db import migrate
from glance_flows.db.engine import Engine
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, delete_image, import_image
from glance_flows.images import Image
from glance_flows.quickstart.folder import STORES, Folder
from glance_flows.quickstart.source import Offer, offered
from glance_flows.runner import Runner
from glance_flows.services import Services

_FIRST, _SECOND, _THIRD, SPARE = STORES


class Guide(Protocol):
    """Whoever shows the tour to a user."""

    def say(self, text: str) -> None:
        """Show one line."""

    def runner(self, conf: cfg.ConfigOpts) -> AbstractContextManager[Runner]:
        """Open a runner."""

    def run(self, runner: Runner, spec: FlowSpec, what: str) -> dict[str, Any]:
        """Run a flow, and show how far it is."""


@dataclass(frozen=True, slots=True)
class Result:
    """What there is after the tour: the image, and the file of each of its copies by store."""

    image: Image
    files: dict[str, str]


def take(folder: Folder, image: str | None, guide: Guide) -> Result:
    """Take the tour.

    :param image: a file or URL to take along; None makes a disk
    :raises GlanceFlowsError: what failed; the image of the tour is deleted again
    """
    guide.say(
        f"Folder   {folder.path}"
        + (" (there already: configuration, database and stores are used again)" if folder.found else "")
    )
    with offered(image, folder) as offer:
        guide.say(f"Image    {offer.told}, offered at {offer.url}" if image is None else f"Image    {offer.told}")
        folder.allow(offer.places)
        conf = folder.conf()
        _sync(conf)
        with guide.runner(conf) as runner:
            image_id = _create(runner.services, offer)
            try:
                return _walk(runner, image_id, offer, guide)
            except BaseException:
                with contextlib.suppress(errors.GlanceFlowsError):
                    runner.run(delete_image(image_id, delayed=False))
                raise


def _walk(runner: Runner, image_id: str, offer: Offer, guide: Guide) -> Result:
    guide.say(f"Import   web-download into {_FIRST} and {_SECOND}")
    first = import_image(image_id, method="web-download", uri=offer.url, stores=[_FIRST, _SECOND])
    guide.run(runner, first, "the import")
    guide.say(f"Copy     to {_THIRD}")
    guide.run(runner, copy_image(image_id, to=[_THIRD]), "the copy")
    image = runner.services.db.images.get(image_id)
    files = _verified(runner.services, image)
    guide.say(f"Verify   {len(files)} copies, each with the {image.os_hash_algo} of the record: {', '.join(files)}")
    return Result(image, files)


def _sync(conf: cfg.ConfigOpts) -> None:
    engine = Engine(conf)
    try:
        migrate.sync(engine)
    finally:
        engine.dispose()


def _create(services: Services, offer: Offer) -> str:
    values = {
        "id": str(uuid.uuid4()),
        "name": offer.name,
        "disk_format": offer.disk_format,
        "container_format": "bare",
        "visibility": "shared",
    }
    services.db.images.create(values, {"made_by": "quickstart"}, ("quickstart",))
    return values["id"]


def _verified(services: Services, image: Image) -> dict[str, str]:
    """Return the file of each copy, once its hash was found to be that of the record.

    :raises VerificationFailed: one is not
    """
    files = {}
    for location in image.locations:
        store = services.stores.holding(location)
        path = Path(store.local_path(location.url) or "")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, str(image.os_hash_algo)).hexdigest()
        if found != image.os_hash_value:
            raise errors.VerificationFailed(f"{path} has the {image.os_hash_algo} {found}, not {image.os_hash_value}.")
        files[store.name] = str(path)
    return files
