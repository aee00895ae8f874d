"""The examples of the documents run as they are written."""

import re
import textwrap
from pathlib import Path
from typing import Any

from glance_flows.testing import FlowTestCase
from tests import base

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def examples(document: str) -> list[str]:
    """Return the Python examples of a document."""
    text = (_ROOT / document).read_text()
    return [textwrap.dedent(found) for found in _BLOCK.findall(text)]


class DocumentsTest(FlowTestCase, base.TestCase):
    """Each example in turn, with a configuration and an image at hand."""

    def configure(self) -> dict[str, Any]:
        """Name the stores as the examples do."""
        return {
            "enabled_backends": "s1:file,ceph:file,s3:file",
            "ceph": {"filesystem_store_datadir": self.root / "ceph"},
            "s3": {"filesystem_store_datadir": self.root / "s3"},
        }

    def run_examples(self, document: str) -> dict[str, Any]:
        """Run them in one namespace, as a reader would; paths and ids of the document become those of the test."""
        found = examples(document)
        self.assertTrue(found, f"{document} has no example")
        image_id = self.world.image(b"some data" * 1000)
        space: dict[str, Any] = {"image_id": image_id, "conf": self.services.conf}
        for example in found:
            here = example.replace("/etc/glance/glance-api.conf", str(self.root / "glance-flows.conf"))
            here = here.replace("9a4f6d0e-6c1b-4a57-8d6c-2a7d1f1c9a10", image_id)
            exec(compile(here, document, "exec"), space)
        return space

    def test_the_readme(self) -> None:
        """The first lines that a user of the library types copy an image."""
        space = self.run_examples("README.rst")
        self.assertEqual(["s1", "ceph", "s3"], sorted_stores(self.world.db.images.get(space["image_id"]).stores))

    def test_embedding(self) -> None:
        """The samples of the architecture do what they say."""
        space = self.run_examples("doc/source/how-to/embed-the-library.rst")
        self.assertEqual(["s1", "ceph", "s3"], sorted_stores(self.world.db.images.get(space["image_id"]).stores))
        self.assertIn("image.upload", space["EVENTS"])


def sorted_stores(names: list[str]) -> list[str]:
    """Return the names, the copies in the order of their names behind the first."""
    first, *copies = names
    return [first, *sorted(copies)]
