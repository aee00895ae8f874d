"""``pending``, ``restore``: what was deleted and can still come back, and bringing it back."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cliff import columns as cliff_columns
from oslo_utils import timeutils

from glance_flows import errors
from glance_flows.cli import background, base, columns, scrubbing

if TYPE_CHECKING:
    from glance_flows.db.pending import PendingImage, Selection
    from glance_flows.runner import Runner

_PAGE = 500
_PENDING = ("id", "name", "owner", "size", "stores", "deleted_at", "time_left")
_RESTORED = ("id", "status", "locations", "properties", "tags", "members", "message")


class Span(cliff_columns.FormattableColumn[Any]):
    """A time in seconds."""

    def human_readable(self) -> str:
        """Return its two largest parts."""
        return scrubbing.span(self._value) if self._value else "none"


class Pending(base.Lister):
    """List deleted images that can still be restored, and the time left until scrub_time is over."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--owner", metavar="O", help="only images of this project")
        parser.add_argument("--store", metavar="S", help="only images with data in this store")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the images in the order of their ids."""
        from glance_flows.db.pending import Selection

        conf = self.context.conf_with_database()
        with self.context.database() as database:
            wanted = Selection(owner=parsed_args.owner, store=parsed_args.store)
            found = _pages(database, wanted)
            return _PENDING, [_row(image, conf.scrub_time) for image in found]


class Restore(base.Lister):
    """Restore deleted images, one after the other; one that fails does not keep the next from being restored."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("images", metavar="ID", nargs="+", help="id of an image")
        parser.add_argument(
            "--data-only", action="store_true", help="leave properties, tags and members deleted; bring data back"
        )
        background.add_post(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Restore and print what became of each image."""
        with self.context.runner() as runner:
            images = dict.fromkeys(parsed_args.images)
            rows = [self._restore(runner, image_id, parsed_args) for image_id in images]
        return _RESTORED, rows

    def _restore(self, runner: "Runner", image_id: str, asked: argparse.Namespace) -> list[Any]:
        from glance_flows.cli.told import tell
        from glance_flows.flows import restore_image

        try:
            spec = restore_image(image_id, data_only=asked.data_only)
            if asked.post:
                posted = runner.post(spec, identity=self.context.identity(runner.services.conf))
                return [image_id, "posted", 0, 0, 0, 0, columns.Text(f"run {posted.id}")]
            facts = self.context.run(runner, spec, f"the restore of {image_id}")
        except errors.GlanceFlowsError as failure:
            self.status = 1
            tell(failure, debug=self.context.debug)
            return [image_id, "failed", 0, 0, 0, 0, columns.formattable(str(failure))]
        back = facts["restored"]
        counts = [back[name] for name in ("locations", "properties", "tags", "members")]
        return [image_id, runner.services.db.images.get(image_id).status, *counts, columns.Text(" ".join(back["told"]))]


def _pages(database: Any, wanted: "Selection") -> "Iterator[PendingImage]":
    after = ""
    while page := database.pending.page(wanted, _PAGE, after):
        for image in page:
            if wanted.store is None or wanted.store in image.stores:
                yield image
        after = page[-1].id


def _row(image: "PendingImage", scrub_time: int) -> list[Any]:
    left = None
    if image.deleted_at is not None:
        left = max(0, scrub_time - int(timeutils.delta_seconds(image.deleted_at, timeutils.utcnow())))
    return [*(columns.formattable(getattr(image, name)) for name in _PENDING[:-1]), Span(left)]
