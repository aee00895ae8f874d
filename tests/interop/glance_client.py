"""A client for the parts of Glance's image API that the tests use, as any tenant."""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import requests

from tests.interop.waiting import wait_until

Record = dict[str, Any]
Records = list[Record]  # a name of its own: inside GlanceClient, `list` is a method

PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
DOWNLOAD_CHUNK = 1024 * 1024
REQUEST_TIMEOUT = 120.0


@dataclass(frozen=True)
class Downloaded:
    """What came back from a download: enough to compare, without keeping the bytes."""

    sha512: str
    size: int


def identity_headers(project: str, user: str, roles: Iterable[str]) -> dict[str, str]:
    """Return the headers which keystone's middleware would have put before Glance's own."""
    return {
        "X-Identity-Status": "Confirmed",
        "X-Project-Id": project,
        "X-User-Id": user,
        "X-Roles": ",".join(roles),
    }


class GlanceClient:
    """Talks to one Glance API as one tenant.

    Every method raises :class:`requests.HTTPError` if Glance refuses; the answer is in its
    ``response``.
    """

    def __init__(self, url: str, project: str, user: str, roles: Iterable[str]) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(identity_headers(project, user, roles))

    def request(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """Send one request to ``/v2/<path>`` and return the answer, whatever its status."""
        keywords.setdefault("timeout", REQUEST_TIMEOUT)
        return self._session.request(method, f"{self.url}/v2/{path}", **keywords)

    def create_image(self, **attributes: Any) -> Record:
        """Create a queued image (bare and raw unless said otherwise) and return its record."""
        body = {"container_format": "bare", "disk_format": "raw", **attributes}
        return self._json("POST", "images", json=body)

    def upload(self, image_id: str, data: bytes | IO[bytes], store: str | None = None) -> None:
        """Upload the image's data straight into a store, by default the default backend."""
        headers = {"Content-Type": "application/octet-stream"}
        if store is not None:
            headers["X-Image-Meta-Store"] = store
        self._checked("PUT", f"images/{image_id}/file", data=as_stream(data), headers=headers)

    def stage(self, image_id: str, data: bytes | IO[bytes]) -> None:
        """Put data into staging, from where ``glance-direct`` imports it."""
        headers = {"Content-Type": "application/octet-stream"}
        self._checked("PUT", f"images/{image_id}/stage", data=as_stream(data), headers=headers)

    def import_image(self, image_id: str, method: str, *, uri: str | None = None, **options: Any) -> None:
        """Ask for an import; ``options`` are ``stores``, ``all_stores`` and the like."""
        how = {"name": method} if uri is None else {"name": method, "uri": uri}
        self._checked("POST", f"images/{image_id}/import", json={"method": how, **options})

    def show(self, image_id: str) -> Record:
        """Return the image's record."""
        return self._json("GET", f"images/{image_id}")

    def list(self, **filters: str) -> Records:
        """Return the first page of the images this tenant sees."""
        images: Records = self._json("GET", "images", params=filters)["images"]
        return images

    def download(self, image_id: str) -> Downloaded:
        """Read the image's data and return its digest and length."""
        digest, size = hashlib.sha512(), 0
        with self._checked("GET", f"images/{image_id}/file", stream=True) as answer:
            for chunk in answer.iter_content(DOWNLOAD_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return Downloaded(digest.hexdigest(), size)

    def patch(self, image_id: str, changes: Iterable[Mapping[str, Any]]) -> Record:
        """Apply a JSON patch, for example ``[{"op": "add", "path": "/key", "value": "v"}]``."""
        headers = {"Content-Type": PATCH_TYPE}
        return self._json("PATCH", f"images/{image_id}", json=list(changes), headers=headers)

    def tasks(self, image_id: str) -> Records:
        """Return the image's tasks with their input, result and message, oldest first."""
        tasks: Records = self._json("GET", f"images/{image_id}/tasks")["tasks"]
        return sorted(tasks, key=lambda task: str(task["created_at"]))

    def delete(self, image_id: str) -> None:
        """Delete the image."""
        self._checked("DELETE", f"images/{image_id}")

    def wait_for(self, image_id: str, predicate: Callable[[Record], object], timeout: float = 60.0) -> Record:
        """Return the image's record as soon as ``predicate`` likes it.

        :raises TimeoutError: it never did; the error holds the last record and its tasks
        """
        last: Record = {}

        def liked() -> Record | None:
            nonlocal last
            last = self.show(image_id)
            return last if predicate(last) else None

        try:
            return wait_until(liked, timeout, what=f"image {image_id}") or last
        except TimeoutError as expired:
            raise TimeoutError(f"{expired}; {last}; tasks: {self.tasks(image_id)}") from expired

    def _checked(self, method: str, path: str, **keywords: Any) -> requests.Response:
        answer = self.request(method, path, **keywords)
        if not answer.ok:
            raise requests.HTTPError(
                f"{method} {path}: {answer.status_code} {answer.reason}: {answer.text}",
                response=answer,
            )
        return answer

    def _json(self, method: str, path: str, **keywords: Any) -> Record:
        record: Record = self._checked(method, path, **keywords).json()
        return record


def as_stream(data: bytes | IO[bytes]) -> bytes | IO[bytes]:
    """Return something ``requests`` sends with a Content-Length: never chunked, as it sends an empty stream."""
    return io.BytesIO(data) if isinstance(data, bytes) and data else data


def wait_for_import(client: GlanceClient, image_id: str, timeout: float = 60.0) -> Record:
    """Wait until no import holds the image and all its tasks have ended; return its record.

    Both, because Glance ends in two orders: after a success the task ends and then the lock goes,
    after a failure the lock goes and then the task ends.
    """

    def ended(record: Record) -> bool:
        if "os_glance_import_task" in record:
            return False
        return all(task["status"] in ("success", "failure") for task in client.tasks(image_id))

    return client.wait_for(image_id, ended, timeout)


def add_member(owner: GlanceClient, image_id: str, project: str) -> Record:
    """Share the image with a project."""
    record: Record = _members(owner, "POST", image_id, json={"member": project})
    return record


def list_members(client: GlanceClient, image_id: str) -> Records:
    """Return the projects the image is shared with."""
    members: Records = _members(client, "GET", image_id)["members"]
    return members


def _members(client: GlanceClient, method: str, image_id: str, **keywords: Any) -> Record:
    answer = client.request(method, f"images/{image_id}/members", **keywords)
    answer.raise_for_status()
    record: Record = answer.json()
    return record
