"""Bytes between a user and an image: staging data for a later import, and saving an image's data."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from glance_flows import errors, states
from glance_flows.flows.admission import check_formats, visible_image
from glance_flows.identity import Identity
from glance_flows.images import Contents, Image, Location, Staged
from glance_flows.ports import Progress, Store
from glance_flows.services import Services
from glance_flows.stores.ahead import Ahead
from glance_flows.stores.digest import Digester
from glance_flows.tasks.data import difference, inspected_format

LOG = logging.getLogger(__name__)
PART = "staging"


def stage_image(
    services: Services,
    image_id: str,
    chunks: Iterable[bytes],
    *,
    identity: Identity | None = None,
    progress: Progress | None = None,
) -> Staged:
    """Put data into the staging area for a later import by ``glance-direct``.

    The image goes from ``queued`` to ``uploading`` once all of the data is there; a failure leaves it ``queued`` and
    the staging area empty.

    :param chunks: the data
    :raises Conflict: the image is not ``queued``, or its formats are not set (C2)
    :raises TooLarge, UnsafeImage: the data is refused (C24)
    """
    image, caller = visible_image(image_id, services, identity)
    services.policy.allow("upload_image", image, caller)
    if image.status != states.QUEUED:
        raise errors.Conflict(f"image {image_id} is {image.status}; staging needs it to be {states.QUEUED}.")
    check_formats(image, "its data is staged")
    facts = {"disk_format": image.disk_format, "container_format": image.container_format}
    staging = services.staging
    contents, received = staging.receive(
        image_id,
        _counted(chunks, progress),
        algorithm=services.conf.hashing_algorithm,
        disk_format=inspected_format(facts),
    )
    host = services.conf.worker_self_reference_url
    try:
        if not services.db.images.stage(image_id, contents.size, host, lambda: staging.place(image_id, received)):
            raise errors.Conflict(f"image {image_id} is no longer {states.QUEUED}; nothing was staged.")
    finally:
        received.unlink(missing_ok=True)
    return Staged(str(staging.path(image_id)), contents, ours=True)


def save_image(
    services: Services,
    image_id: str,
    out: BinaryIO,
    *,
    identity: Identity | None = None,
    progress: Progress | None = None,
) -> Contents:
    """Write an image's data to a file object, from the first store whose copy can be read (C11).

    A file that can be rewound gets another copy when one turns out to be damaged.

    :raises Conflict: the image has no data
    :raises SourceFailed: no store has a good copy; what was written must not be used
    """
    image, _ = visible_image(image_id, services, identity)
    if image.status != states.ACTIVE:
        raise errors.Conflict(f"image {image_id} is {image.status}: it has no data to save.")
    wrong = []
    start = out.tell() if out.seekable() else None
    for place, store in services.stores.by_preference(image.locations):
        try:
            contents = _copy_out(services, image, place, store, out, progress)
            problem = difference(_facts(image), contents)
        except errors.GlanceFlowsError as failure:
            problem = str(failure)
        if problem is None:
            return contents
        LOG.warning("The copy of image %s in the store %s is passed over: %s", image_id, store.name, problem)
        wrong.append(f"{store.name}: {problem}")
        if start is None:
            break
        out.seek(start)
        out.truncate()
    told = "; ".join(wrong) or "this host has none of the stores that hold it"
    raise errors.SourceFailed(f"no store has a readable copy of image {image_id}: {told}")


def _copy_out(
    services: Services, image: Image, place: Location, store: Store, out: BinaryIO, progress: Progress | None
) -> Contents:
    algorithm = image.os_hash_algo or services.conf.hashing_algorithm
    with store.open(place.url) as (chunks, size), Digester(algorithm) as digester:
        if progress is not None:
            progress.begin(store.name, size if size is not None else image.size)
        own = services.conf.glance_flows
        for chunk in _in_large_pieces(store, place, chunks, own.chunk_size, own.store_timeout):
            out.write(chunk)
            digester.update(chunk)
            if progress is not None:
                progress.advance(store.name, len(chunk))
        contents = digester.contents()
    if progress is not None:
        progress.finish(store.name, "done")
    return contents


def _in_large_pieces(
    store: Store, place: Location, chunks: Iterator[bytes], size: int, stall: float
) -> Iterator[bytes]:
    """Yield the bytes as the driver gives them, or a local file's in pieces of a size worth a system call."""
    path = store.local_path(place.url)
    if path is None:
        yield from chunks
        return
    with contextlib.closing(Ahead(_pieces(path, size), f"the reading from the store {store.name}", stall)) as ahead:
        yield from ahead


def _pieces(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(size):
            yield chunk


def _facts(image: Image) -> dict[str, object]:
    names = ("size", "checksum", "os_hash_algo", "os_hash_value")
    return {name: getattr(image, name) for name in names}


def _counted(chunks: Iterable[bytes], progress: Progress | None) -> Iterator[bytes]:
    if progress is None:
        yield from chunks
        return
    progress.begin(PART, None)
    for chunk in chunks:
        progress.advance(PART, len(chunk))
        yield chunk
    progress.finish(PART, "done")
