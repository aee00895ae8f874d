"""The S3 driver, holding no more of an image in memory than it uploads, and leaving no parts of a failed upload."""

import logging
import math
import threading
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from glance_store._drivers import s3

from glance_flows.ports import Listed

LOG = logging.getLogger(__name__)


_POLL_SECONDS = 0.1


class _Paced:
    """Reads no faster than parts are uploaded.

    The driver hands parts to its threads as fast as it can read: behind a slow network it would hold the whole image in
    memory, and have no progress to show for the time after the last byte was read.

    :param limit: most bytes that may be read and not yet uploaded; more than the driver gathers for one part
    """

    def __init__(self, file: Any, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._waiting = 0
        self._changed = threading.Condition()

    def read(self, size: int) -> bytes:
        """Return the next bytes, once there is room for them."""
        with self._changed:
            while self._waiting >= self._limit:
                self._changed.wait(_POLL_SECONDS)
                self._file.read(0)  # raises if the upload is to stop
        data: bytes = self._file.read(size)
        with self._changed:
            self._waiting += len(data)
        return data

    def uploaded(self, count: int) -> None:
        """Make room: so many bytes are gone."""
        with self._changed:
            self._waiting -= count
            self._changed.notify()


class _Remembering:
    """Passes everything on to a client, remembers which uploads it began, and tells of parts that are done."""

    def __init__(self, client: Any, paced: _Paced) -> None:
        self._client = client
        self._paced = paced
        self.begun: list[dict[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_multipart_upload(self, **arguments: Any) -> Any:
        begun = self._client.create_multipart_upload(**arguments)
        self.begun.append({**arguments, "UploadId": begun["UploadId"]})
        return begun

    def upload_part(self, **arguments: Any) -> Any:
        try:
            return self._client.upload_part(**arguments)
        finally:
            self._paced.uploaded(arguments["ContentLength"])


class S3Driver(s3.Store):
    """glance_store's S3 driver; when an upload in parts is stopped, the parts go too (C12).

    The driver itself aborts an upload whose parts failed, not one whose source did: its parts would be paid for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.store_location_class = s3.StoreLocation

    def _add_multipart(self, s3_client: Any, image_file: Any, image_size: int, **facts: Any) -> Any:
        # What a killed process left would be paid for ever; the lock of the image says that nobody else uploads it.
        self._abort_all(s3_client, facts["bucket"], facts["key"])
        part = max(self.s3_store_large_object_chunk_size, math.ceil(image_size / s3.MAX_PART_NUM))
        paced = _Paced(image_file, part * (self.s3_store_thread_pools + 1))
        client = _Remembering(s3_client, paced)
        try:
            return super()._add_multipart(s3_client=client, image_file=paced, image_size=image_size, **facts)
        except BaseException:
            for upload in client.begun:
                _abort(s3_client, upload)
            raise

    def abort_uploads(self, image_id: str) -> None:
        """Abort the uploads in parts of an image that were begun and never ended."""
        self._abort_all(self._create_s3_client(), self.bucket, image_id)

    def listing(self) -> Iterator[Listed]:
        """Yield every object in the bucket."""
        pages = self._create_s3_client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        for page in pages:
            for item in page.get("Contents", ()):
                modified = item["LastModified"].astimezone(UTC).replace(tzinfo=None)
                yield Listed(item["Key"], f"{self.url_prefix}/{item['Key']}", item["Size"], modified)

    def unfinished(self) -> Iterator[Listed]:
        """Yield the uploads in parts that were begun and never ended."""
        pages = self._create_s3_client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket)
        for page in pages:
            for item in page.get("Uploads", ()):
                began = item["Initiated"].astimezone(UTC).replace(tzinfo=None)
                yield Listed(item["Key"], f"{self.url_prefix}/{item['Key']}", 0, began)

    @staticmethod
    def _abort_all(client: Any, bucket: str, key: str) -> None:
        try:
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
            found = [upload for page in pages for upload in page.get("Uploads", ()) if upload["Key"] == key]
        except client.exceptions.ClientError as failure:
            # An endpoint that does not know the request, or keys that do not allow it: no reason to take no image.
            LOG.warning("The uploads of %s in parts cannot be listed in the bucket %s: %s", key, bucket, failure)
            return
        for upload in found:
            _abort(client, {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]})


def _abort(client: Any, upload: dict[str, str]) -> None:
    try:
        client.abort_multipart_upload(**upload)
    except client.exceptions.NoSuchUpload:
        LOG.debug("The driver has aborted the upload of %s itself", upload["Key"])
    except Exception:
        LOG.exception("Parts of %s are left in the bucket %s", upload["Key"], upload["Bucket"])
