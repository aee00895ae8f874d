"""Images that a real Glance has deleted with ``delayed_delete``: where tests of scrubbing and restoring begin."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from glance_flows.scrubber import Report, Scrubber
from tests.interop.base import glance_python
from tests.interop.beside import PARTS, BesideGlanceTestCase
from tests.interop.glance_client import GlanceClient, add_member, list_members, wait_for_import
from tests.interop.glance_server import Override
from tests.interop.waiting import wait_until

DATA = os.urandom(300_017)
SECONDS_TO_SCRUB = 120


class PendingTestCase(BesideGlanceTestCase):
    """A test beside a Glance with ``delayed_delete`` on."""

    #: ``metadata_encryption_key``, if the Glance is to have one
    key: str | None = None

    def setUp(self) -> None:
        super().setUp()
        self.owner: GlanceClient = self.server.as_tenant("owner")

    def configure(self) -> Mapping[str, Override]:
        encrypted = {} if self.key is None else {"metadata_encryption_key": self.key}
        return {"delayed_delete": True, "scrub_pool_size": 4, **encrypted}

    def rich_image(self) -> str:
        """Let Glance make an image in s1 and s2 with every kind of row, some of them removed a while ago."""
        image_id = self.active_image(
            DATA, self.owner, visibility="shared", tags=["blue", "green"], colour="azure", shape="round", name="rich"
        )
        self.copied(image_id, "s2")
        for project in ("friend", "foe"):
            add_member(self.owner, image_id, project)
        self.owner.patch(
            image_id, [{"op": "remove", "path": "/shape"}, {"op": "replace", "path": "/tags", "value": ["blue"]}]
        )
        self.owner.request("DELETE", f"images/{image_id}/members/foe").raise_for_status()
        # Some databases keep whole seconds: what was removed in the second of the deletion counts as a part of it.
        removed = time.time()
        wait_until(lambda: time.time() > removed + 1.1, 5)
        return image_id

    def copied(self, image_id: str, *stores: str) -> None:
        """Let Glance copy an image to more stores."""
        self.glance.import_image(image_id, "copy-image", stores=list(stores))
        wait_for_import(self.glance, image_id)

    def deleted_image(self) -> str:
        """Let Glance make and delete an image."""
        image_id = self.active_image(DATA)
        self.glance.delete(image_id)
        return image_id

    def shown(self, image_id: str) -> dict[str, Any]:
        """Return what Glance shows its owner of an image; not when it changed last, nor how its last import went."""
        record = self.owner.show(image_id)
        record["locations"] = sorted(str(place) for place in record["locations"])
        record["stores"] = sorted(record["stores"].split(","))
        record["members"] = [(each["member_id"], each["status"]) for each in list_members(self.owner, image_id)]
        passing = [name for name in record if name == "updated_at" or name.startswith("os_glance_")]
        return {name: value for name, value in record.items() if name not in passing}

    def scrub(self, **filters: Any) -> Report:
        """Run a pass; it must not fail."""
        report = Scrubber(self.runner, **filters).run_pass()
        self.assertEqual((0, []), (report.failed, report.failures))
        return report

    def scrubber(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``glance-scrubber`` with the file of the Glance, and one that says where ours may keep its state."""
        files = [word for path in self.conf_files for word in ("--config-file", str(path))]
        # By its module: where Glance is installed the name is taken.
        command = [sys.executable, "-W", "ignore", "-m", "glance_flows.cli.scrubber", *files, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_TO_SCRUB)

    def purge(self) -> None:
        """Let ``glance-manage`` remove every row that is marked as deleted."""
        manage = [str(glance_python()), "-m", "glance.cmd.manage", "--config-file", str(self.server.config_file), "db"]
        for command in ("purge", "purge_images_table"):
            options = ["--age_in_days", "0", "--max_rows", "-1"]
            done = subprocess.run([*manage, command, *options], capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def statuses(self, image_id: str) -> tuple[list[str], list[str]]:
        """Return the status of the image and those of its locations."""
        return [row["status"] for row in self.rows("images", image_id)], self.locations(image_id)

    def assert_scrubbed(self, image_id: str, locations: int) -> None:
        """The data is gone, the image and each of its locations are deleted, for Glance there is no such image (S4)."""
        self.assertEqual((["deleted"], ["deleted"] * locations), self.statuses(image_id))
        self.assert_nothing_left(image_id)

    def assert_purged(self, *image_ids: str) -> None:
        """No row is left."""
        left = [(part, row) for each in image_ids for part in ("images", *PARTS) for row in self.rows(part, each)]
        self.assertEqual([], left)
