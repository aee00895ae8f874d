"""The S3 driver, leaving no parts of an upload that failed behind."""

import logging
from typing import Any

from glance_store._drivers import s3

LOG = logging.getLogger(__name__)


class _Remembering:
    """Passes everything on to a client, and remembers which uploads it began."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.begun: list[dict[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_multipart_upload(self, **arguments: Any) -> Any:
        begun = self._client.create_multipart_upload(**arguments)
        self.begun.append({**arguments, "UploadId": begun["UploadId"]})
        return begun


class S3Driver(s3.Store):
    """glance_store's S3 driver; when an upload in parts is stopped, the parts go too (C12).

    The driver itself aborts an upload whose parts failed, not one whose source did: its parts would be paid for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.store_location_class = s3.StoreLocation

    def _add_multipart(self, s3_client: Any, **facts: Any) -> Any:
        client = _Remembering(s3_client)
        try:
            return super()._add_multipart(s3_client=client, **facts)
        except BaseException:
            for upload in client.begun:
                _abort(s3_client, upload)
            raise


def _abort(client: Any, upload: dict[str, str]) -> None:
    try:
        client.abort_multipart_upload(**upload)
    except client.exceptions.NoSuchUpload:
        LOG.debug("The driver has aborted the upload of %s itself", upload["Key"])
    except Exception:
        LOG.exception("Parts of %s are left in the bucket %s", upload["Key"], upload["Bucket"])
