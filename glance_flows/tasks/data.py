"""Tasks that bring an image's bytes to where the uploads read them; each provides ``staged``."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glance_flows import errors, states
from glance_flows.images import Contents, Location, Staged
from glance_flows.ports import Cancel, Progress, Staging, Store
from glance_flows.request import ImportRequest
from glance_flows.task import Task

LOG = logging.getLogger(__name__)
PART = "staging"


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of image data.

    :param chunks: the data
    :param size: how many bytes they are, where that is known
    :param stop: makes a read that waits for data end, called from another thread when the run is to stop
    """

    chunks: Iterable[bytes]
    size: int | None = None
    stop: Callable[[], None] = lambda: None


class Stage(Task):
    """Brings bytes from anywhere into the staging area: the base of most import methods.

    A subclass writes :meth:`source`; digesting, inspecting, the size cap, progress, cancellation and the way back are
    done here. One whose source every host can reach sets :attr:`stages_again`, so that a run can go on without the host
    that staged its bytes.
    """

    default_provides = "staged"
    clears_up = True

    def source(self, request: ImportRequest, conf: Any) -> AbstractContextManager[Source]:
        """Open the stream; the context manager closes it.

        :param request: what was asked for
        :param conf: the configuration, with the method's options registered
        :raises SourceFailed: the bytes cannot be had
        """
        raise NotImplementedError

    def execute(
        self,
        conf: Any,
        staging: Staging,
        cancel: Cancel,
        progress: Progress,
        image_id: str,
        before: dict[str, Any],
        request: dict[str, Any],
        staged_before: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Stage the stream and return what it was found to be.

        :param staged_before: what the bytes were found to be on another host that had staged them for this run
        :raises SourceFailed: the bytes cannot be had, or are not those of before
        """
        asked = ImportRequest.from_json(request)
        with self.source(asked, conf) as source:
            progress.begin(PART, source.size)
            chunks = _watched(source, cancel, progress)
            staged = staging.take(image_id, chunks, algorithm=asked.algorithm, disk_format=inspected_format(before))
        if source.size is not None and staged.contents.size != source.size:
            staging.remove(image_id)
            raise errors.SourceFailed(
                f"the source gave {staged.contents.size} bytes of the {source.size} it announced."
            )
        if staged_before is not None and staged.contents != Contents(**staged_before):
            staging.remove(image_id)
            raise errors.SourceFailed("the source gives other data than when the run began.")
        progress.finish(PART, "done")
        return staged.to_json()

    def revert(self, db: Any, staging: Staging, image_id: str, run_id: str) -> None:
        """Remove what was staged, unless another run has taken the image over and stages there now."""
        remove_staged(db, staging, image_id, run_id)


class AdoptStaged(Task):
    """Takes the bytes that a user has staged; they stay until the image is active, so that a retry finds them (C20)."""

    default_provides = "staged"

    def execute(
        self,
        staging: Staging,
        cancel: Cancel,
        progress: Progress,
        image_id: str,
        before: dict[str, Any],
        request: dict[str, Any],
    ) -> dict[str, Any]:
        """Digest and inspect the staged file."""
        algorithm = ImportRequest.from_json(request).algorithm
        disk_format = inspected_format(before)
        return staging.look(
            image_id, algorithm=algorithm, disk_format=disk_format, cancel=cancel, progress=progress
        ).to_json()


class Pin(Task):
    """Notes what was staged at first: a run that has to fetch its bytes again goes on with the same, or fails (C21)."""

    default_provides = "pinned"

    def execute(self, staged: dict[str, Any]) -> dict[str, Any]:
        """Return what the bytes were found to be."""
        contents: dict[str, Any] = staged["contents"]
        return contents


class StageFromStore(Task):
    """Takes the bytes from the first store whose copy is what the image's hash says (C11).

    A store's file on this host is read in place; other objects are fetched into the staging area.
    """

    default_provides = "staged"
    clears_up = True
    stages_again = True

    def execute(
        self,
        db: Any,
        stores: Any,
        staging: Any,
        cancel: Cancel,
        progress: Progress,
        image_id: str,
        before: dict[str, Any],
        request: dict[str, Any],
    ) -> dict[str, Any]:
        """Find a good copy.

        :raises SourceFailed: no store has one; the message says what was wrong with each
        """
        algorithm = ImportRequest.from_json(request).algorithm
        image = db.images.get(image_id)
        active = tuple(place for place in image.locations if place.status == states.ACTIVE)
        wrong: list[str] = []
        for place, store in stores.by_preference(active):
            try:
                reading = _Reading(staging, cancel, progress, algorithm)
                staged = reading.from_store(image_id, place, store)
                problem = difference(before, staged.contents)
            except errors.Cancelled:
                raise
            except errors.GlanceFlowsError as failure:
                problem = str(failure)
            if problem is None:
                return staged.to_json()
            LOG.warning("The copy of image %s in the store %s is passed over: %s", image_id, store.name, problem)
            wrong.append(f"{store.name}: {problem}")
            staging.remove(image_id)
        told = "; ".join(wrong) or "this host has none of the stores that hold it"
        raise errors.SourceFailed(f"no store has a readable copy of image {image_id}: {told}")

    def revert(self, db: Any, staging: Staging, image_id: str, run_id: str) -> None:
        """Remove what was staged, unless another run has taken the image over and stages there now."""
        remove_staged(db, staging, image_id, run_id)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One attempt to read a copy."""

    staging: Any
    cancel: Cancel
    progress: Progress
    algorithm: str

    def from_store(self, image_id: str, place: Location, store: Store) -> Staged:
        path = store.local_path(place.url)
        try:
            if path is not None:
                return Staged(path, self._in_place(Path(path)), ours=False, source=store.name)
            return self._fetched(image_id, place, store)
        except OSError as failure:
            raise errors.SourceFailed(f"it cannot be read: {failure.strerror}.") from failure

    def _in_place(self, path: Path) -> Contents:
        contents: Contents = self.staging.digest(
            path, algorithm=self.algorithm, disk_format=None, cancel=self.cancel, progress=self.progress
        )
        return contents

    def _fetched(self, image_id: str, place: Location, store: Store) -> Staged:
        with store.open(place.url) as (chunks, size):
            self.progress.begin(PART, size)
            stop = getattr(chunks, "stop", lambda: None)
            watched = _watched(Source(chunks, size, stop), self.cancel, self.progress)
            staged: Staged = self.staging.take(image_id, watched, algorithm=self.algorithm, disk_format=None)
        self.progress.finish(PART, "done")
        return Staged(staged.path, staged.contents, ours=True, source=store.name)


def remove_staged(db: Any, staging: Staging, image_id: str, run_id: str) -> None:
    """Remove an image's staged file, unless another run holds the image."""
    sign = db.claims.look([image_id]).get(image_id)
    if sign is None or sign.gone or sign.holder in (run_id, None):
        staging.remove(image_id)


def inspected_format(before: dict[str, Any]) -> str | None:
    """Return the format to inspect data for; None for containers, whose contents are not a disk (C24)."""
    return before["disk_format"] if before["container_format"] == "bare" else None


def difference(before: dict[str, Any], contents: Contents) -> str | None:
    """Tell in what data differ from the image's record; None if in nothing that is recorded."""
    recorded = {
        "size": (before["size"], contents.size),
        "checksum": (before["checksum"], contents.checksum),
        before["os_hash_algo"]: (before["os_hash_value"], contents.hash_value),
    }
    for name, (expected, found) in recorded.items():
        if expected is not None and expected != found:
            return f"its {name} is {found}, not {expected}"
    return None


@contextlib.contextmanager
def opened(chunks: Iterable[bytes], size: int | None = None) -> Iterator[Source]:
    """Return a source that needs no closing, for methods whose bytes are at hand."""
    yield Source(chunks, size)


def _watched(source: Source, cancel: Cancel, progress: Progress) -> Iterator[bytes]:
    with cancel.calling(source.stop):
        try:
            for chunk in source.chunks:
                cancel.check()
                progress.advance(PART, len(chunk))
                yield chunk
        except errors.SourceFailed:
            # A source that was stopped fails; why it was stopped is what happened.
            cancel.check()
            raise
