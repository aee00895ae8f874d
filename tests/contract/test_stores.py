"""The contract of stores on each kind: in memory, in files, and in S3 in one piece and in parts."""

from typing import Any, ClassVar

from glance_flows import errors
from glance_flows.images import Location
from glance_flows.stores import Stores
from glance_flows.testing import MemoryStore, make_conf
from tests.contract.s3 import S3, SECRET
from tests.contract.stores import StoreContract


class TestMemoryStore(StoreContract):
    """The test kit's own store."""

    def setUp(self) -> None:
        super().setUp()
        self.store = MemoryStore("m")


class TestFileStore(StoreContract):
    """Files in one directory."""

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.store = Stores.from_conf(make_conf(self.root, "f", f=self.section())).get("f")

    def section(self) -> dict[str, Any]:
        return {"filesystem_store_datadir": self.root / "f"}

    def leftovers(self) -> list[str]:
        return [path.name for path in self.root.glob("f*/*")]


class TestThinFileStore(TestFileStore):
    """Files whose zeros take no room."""

    def section(self) -> dict[str, Any]:
        return {**super().section(), "filesystem_thin_provisioning": True}

    def test_zeros_take_no_room(self) -> None:
        """C21: holes read as the zeros that they stand for."""
        data = bytes(8 * 1024 * 1024) + b"end" + bytes(4 * 1024 * 1024)
        stored = self.add("a", data)
        self.assertEqual(data, self.read(stored.url))
        self.assertLess((self.root / "f" / "a").stat().st_blocks * 512, len(data) // 2)


class TestFileStoreOfSeveralDirectories(TestFileStore):
    """Files in several directories by priority; the locations name the store all the same."""

    def section(self) -> dict[str, Any]:
        return {"filesystem_store_datadir": "", "filesystem_store_datadirs": f"{self.root}/f1:100"}

    def test_a_url_tells_its_store(self) -> None:
        """S10: with several directories the driver tells no prefix; the only store of the scheme is the one."""
        url = self.add("a").url
        stores = Stores({"f": self.store}, "f")
        self.assertIs(self.store, stores.holding(Location(1, url, {}, "active")))


class OnS3(StoreContract):
    """A bucket of its own for each test on one server for the class."""

    server: ClassVar[S3]
    section: ClassVar[dict[str, Any]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = S3()
        cls.server.setUp()
        cls.addClassCleanup(cls.server.cleanUp)

    def setUp(self) -> None:
        super().setUp()
        self.server.new_bucket()
        self.conf = make_conf(self.root, "s", enabled_backends="s:s3", s=self.server.options(**self.section))
        self.store = Stores.from_conf(self.conf).get("s")

    def leftovers(self) -> list[str]:
        return self.server.names() + self.server.uploads()


class TestS3Store(OnS3):
    """Objects in one piece."""

    def test_no_credential_is_told(self) -> None:
        """F2: neither a URL nor an error has the keys."""
        stored = self.add("a")
        self.assertNotIn(SECRET, stored.url + repr(stored))
        self.server.client.delete_object(Bucket=self.server.bucket, Key="a")
        self.server.client.delete_bucket(Bucket=self.server.bucket)
        failure = self.assertRaises(errors.StoreError, self.read, stored.url)
        self.assertNotIn(SECRET, str(failure))


class TestS3StoreInParts(OnS3):
    """Objects in several parts."""

    data = bytes(range(256)) * 4096 * 5 + b"and a rest"
    section: ClassVar[dict[str, Any]] = {"s3_store_large_object_size": 1, "s3_store_large_object_chunk_size": 5}

    # The same as in one piece, and slow: five MiB are the least that a part may have.
    test_a_second_object_of_a_name_is_refused = None
    test_uploads_side_by_side = None
    test_where_an_image_is_can_be_known_beforehand = None
    test_a_url_tells_its_store = None

    def test_parts_are_used(self) -> None:
        """C21: a guard of this class: the data is long enough to be sent in parts."""
        self.add("a")
        head = self.server.client.head_object(Bucket=self.server.bucket, Key="a")
        self.assertRegex(head["ETag"], r"-\d+\"$")


del StoreContract, OnS3
