"""``image create``, ``image list``, ``image show``."""

import argparse
import itertools
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glance_flows import errors, states
from glance_flows.cli import arguments, base, columns

if TYPE_CHECKING:
    from glance_flows.db import Database
    from glance_flows.images import Image

_LISTED = ("id", "name", "status", "disk_format", "container_format", "size", "owner", "visibility")
_SET = ("name", "disk_format", "container_format", "owner", "visibility", "protected", "min_disk", "min_ram")
_DATA = ("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value")
_TIMES = ("created_at", "updated_at", "deleted_at")
_SHOWN = ("id", "name", "status", *_SET[1:6], *_DATA, *_TIMES, "stores", "properties", "tags")


class Create(base.ShowOne):
    """Create an image without data, ready for an import."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--id", type=arguments.image_id, help="id of the image, a UUID; by default a new one")
        parser.add_argument("--name", required=True, type=arguments.name, help="name of the image")
        parser.add_argument("--disk-format", required=True, metavar="F", help="what its data is: raw, qcow2 …")
        parser.add_argument("--container-format", required=True, metavar="C", help="what it is packed in: bare …")
        parser.add_argument("--owner", type=arguments.name, help="project that owns it")
        parser.add_argument("--visibility", choices=arguments.VISIBILITIES, default="shared", help="who sees it")
        arguments.add_pairs(parser, "--property", "a property")
        parser.add_argument("--tag", action="append", type=arguments.name, default=[], help="a tag; may be repeated")
        parser.add_argument("--protected", action="store_true", help="refuse to delete it")
        size = arguments.natural(0)
        parser.add_argument("--min-disk", type=size, default=0, metavar="GIB", help="disk it needs, in GiB")
        parser.add_argument("--min-ram", type=size, default=0, metavar="MIB", help="memory it needs, in MiB")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Create the image and print it."""
        values = {name: getattr(parsed_args, name) for name in _SET}
        values["id"] = parsed_args.id or str(uuid.uuid4())
        properties = dict(parsed_args.property)
        for name in properties:
            if name in _SHOWN or name in values:
                raise errors.BadRequest(f"--property {name}: an image has an attribute of that name already.")
        formats = self.context.conf_with_database().image_format
        for name in ("disk_format", "container_format"):
            known = formats[f"{name}s"]
            if values[name] not in known:
                option = "--" + name.replace("_", "-")
                raise errors.BadRequest(f"{option} {values[name]}: [image_format] allows {', '.join(known)}.")
        with self.context.database() as database:
            database.images.create(values, properties, tuple(dict.fromkeys(parsed_args.tag)))
            return columns.record(describe(database, values["id"]))


class List(base.Lister):
    """List images in the order of their ids."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--status", choices=sorted(states.IMAGE_TRANSITIONS), help="only images of this status")
        parser.add_argument("--owner", help="only images of this project")
        parser.add_argument("--limit", type=arguments.natural(1), metavar="N", help="at most so many; by default all")
        parser.add_argument("--marker", metavar="ID", help="only images whose id comes after this one: the next page")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the images."""
        with self.context.database() as database:
            found = _pages(database, parsed_args)
            rows = [[columns.formattable(getattr(image, name)) for name in _LISTED] for image in found]
        return _LISTED, rows


class Show(base.ShowOne):
    """Show an image: its record, where its data is, and its tasks."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", metavar="ID", help="id of the image")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the image."""
        with self.context.database() as database:
            return columns.record(describe(database, parsed_args.image))


def describe(database: "Database", image_id: str) -> dict[str, Any]:
    """Return everything about an image but the URLs of its data, which may hold credentials (F2).

    :raises NotFound: there is no row of this id
    """
    image = database.images.get(image_id)
    shown = {name: getattr(image, name) for name in _SHOWN}
    shown["members"] = [{"project": member.project, "status": member.status} for member in image.members]
    tasks = database.tasks_of(image_id)
    shown["tasks"] = [{name: task[name] for name in ("id", "status", "message")} for task in tasks]
    return shown


def _pages(database: "Database", parsed_args: argparse.Namespace) -> Iterator["Image"]:
    def every() -> Iterator["Image"]:
        equal = {"status": parsed_args.status, "owner": parsed_args.owner}
        after = parsed_args.marker
        while page := database.images.page(after=after, gone=parsed_args.status in states.GONE, **equal):
            yield from page
            after = page[-1].id

    return itertools.islice(every(), parsed_args.limit)
