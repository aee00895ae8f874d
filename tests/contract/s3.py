"""An S3 endpoint on this host: moto's server, spoken to over HTTP as any other."""

import logging
import uuid
from typing import Any

import boto3
import fixtures
from moto.server import ThreadedMotoServer

SECRET = "secret/with+odd=characters"


class S3(fixtures.Fixture):
    """An endpoint with a bucket of a random name."""

    def _setUp(self) -> None:
        # Werkzeug writes a line a request to stderr, where no logger of a test catches it.
        requests = logging.getLogger("werkzeug")
        self.addCleanup(requests.setLevel, requests.level)
        requests.setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.addCleanup(server.stop)
        host, port = server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "access", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=self.endpoint, **keys)
        self.addCleanup(self.client.close)
        self.bucket = ""
        self.new_bucket()

    def new_bucket(self) -> None:
        """Make another bucket the one that :meth:`options` name."""
        self.bucket = f"images-{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=self.bucket)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the section of a store of type ``s3``."""
        return {
            "s3_store_host": self.endpoint,
            "s3_store_access_key": "access",
            "s3_store_secret_key": SECRET,
            "s3_store_bucket": self.bucket,
            "s3_store_region_name": "us-east-1",
            "s3_store_create_bucket_on_put": True,
            "s3_store_bucket_url_format": "path",
            **more,
        }

    def names(self) -> list[str]:
        """Return the names of the objects in the bucket."""
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def body(self, key: str) -> bytes:
        """Return an object."""
        data: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def uploads(self) -> list[str]:
        """Return the names of the multipart uploads that were begun and neither completed nor aborted."""
        return [item["Key"] for item in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]
