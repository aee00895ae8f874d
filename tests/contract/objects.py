"""Imports into object and file stores together, whatever database they are recorded in."""

from typing import Any, ClassVar

from glance_flows import errors, states
from glance_flows.flows import copy_image, delete_image
from tests.contract.flows import METHODS, Flows
from tests.contract.s3 import S3, SECRET

#: Long enough to be sent to the store of large objects in two parts.
DATA = bytes(range(256)) * 4096 * 5 + b"and a rest"


class ObjectStores(Flows):
    """Stores ``s1`` of files, ``o1`` of S3 objects in one piece and ``o2`` of objects in parts."""

    s3: ClassVar[S3]
    memory = ()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.s3 = S3()
        cls.s3.setUp()
        cls.addClassCleanup(cls.s3.cleanUp)

    def configure(self) -> dict[str, Any]:
        self.s3.new_bucket()
        small = self.s3.options()
        self.s3.new_bucket()
        parts = {"s3_store_large_object_size": 1, "s3_store_large_object_chunk_size": 5}
        large = self.s3.options(**parts)
        backends = {"enabled_backends": "s1:file,s2:file,o1:s3,o2:s3"}
        self.buckets = {"o1": small["s3_store_bucket"], "o2": large["s3_store_bucket"]}
        return {**super().configure(), **backends, "o1": small, "o2": large}

    def bytes_in(self, image_id: str, name: str) -> bytes | None:
        if name not in self.buckets:
            return super().bytes_in(image_id, name)
        self.s3.bucket = self.buckets[name]
        return self.s3.body(image_id) if image_id in self.s3.names() else None

    def assertNoParts(self) -> None:
        """No upload is left half done."""
        for bucket in self.buckets.values():
            self.s3.bucket = bucket
            self.assertEqual([], self.s3.uploads())


class ObjectFlows:
    """Mixed with :class:`ObjectStores` by the concrete classes."""

    def test_every_method(self: Any) -> None:
        """C1, C21, C22: files and objects hold the same bytes; a copy reads objects when the file is gone."""
        for method in METHODS:
            spec = self.spec(method, data=DATA, stores=["o1", "o2", "s2"])
            image_id = spec.arguments["image_id"]
            self.runner.run(spec)
            held = ["s1"] if method == "copy-image" else []
            self.assertHolds(image_id, DATA, *held, "o1", "o2", "s2")
            self.assertNotIn(SECRET, str(self.rows("image_locations", image_id=image_id)))

    def test_from_objects_to_a_file(self: Any) -> None:
        """C11: an image that lies only in object stores is fetched, verified and staged on its way."""
        spec = self.spec("web-download", data=DATA, stores=["o2"])
        image_id = spec.arguments["image_id"]
        self.runner.run(spec)
        self.runner.run(copy_image(image_id, to=["s2"]))
        self.assertHolds(image_id, DATA, "o2", "s2")
        self.s3.bucket = self.buckets["o2"]
        self.s3.client.put_object(Bucket=self.s3.bucket, Key=image_id, Body=DATA[:-1] + b"?")
        self.runner.run(copy_image(image_id, to=["o1"]))
        self.assertEqual(DATA, self.bytes_in(image_id, "o1"))

    def test_undone(self: Any) -> None:
        """C12, P6: the bucket of one store is gone: the objects in the other and the file are taken back."""
        image_id = self.world.image(DATA)
        before = self.world.picture()
        self.s3.client.delete_bucket(Bucket=self.buckets["o1"])
        self.services.conf.set_override("s3_store_create_bucket_on_put", False, group="o1")
        spec = copy_image(image_id, to=["s2", "o2", "o1"])
        self.assertRaisesRegex(errors.StoreError, "o1", self.runner.run, spec)
        self.assertEqual(before, self.world.picture())
        self.assertEqual("o1", self.prop(image_id, states.FAILED_IMPORT))
        self.s3.client.create_bucket(Bucket=self.buckets["o1"])
        self.assertEqual(["s1"], self.stores_with(image_id))
        self.assertNoParts()

    def test_reverts_cleanly(self: Any) -> None:
        """P6, F1: the flow fails after each of its tasks in turn; no object and no part is left."""
        image_id = self.world.image(b"few bytes")
        self.assertRevertsCleanly(copy_image(image_id, to=["o1", "o2"]))
        self.assertEqual(["s1"], self.stores_with(image_id))
        self.assertNoParts()

    def test_stray_objects_and_deletion(self: Any) -> None:
        """C12, S2: a stray object of the image's name is replaced; a deletion empties every bucket."""
        image_id = self.world.image(b"few bytes")
        self.s3.client.put_object(Bucket=self.buckets["o1"], Key=image_id, Body=b"stray")
        self.runner.run(copy_image(image_id, to=["o1", "o2"]))
        self.assertHolds(image_id, b"few bytes", "s1", "o1", "o2")
        self.runner.run(delete_image(image_id, delayed=False))
        self.assertEqual([], self.stores_with(image_id))
