"""``image upload``, ``image stage``, ``image save``: an image's bytes between a user and the stores."""

import argparse
from typing import TYPE_CHECKING, Any

from glance_flows import errors
from glance_flows.cli import arguments, base, columns
from glance_flows.cli.flows import outcome

if TYPE_CHECKING:
    from glance_flows.images import Contents, Staged
    from glance_flows.runner import Runner
    from glance_flows.services import Services

_DIRECT = "glance-direct"
#: Seconds that a store which hangs is waited for when saving is stopped: there is nothing to undo but our own file.
_GRACE = 3.0


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="ID", help="id of the image")
    parser.add_argument("--file", required=True, metavar="F", help="file with the data; - is standard input")


class Upload(base.ShowOne):
    """Upload a file into an image: stage it, then import it with glance-direct."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        _add_source(parser)
        arguments.add_stores(parser, required=False, what="put the data into")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Stage, import, and print the outcome."""
        from glance_flows.flows import import_image

        image_id = parsed_args.image
        with self.context.runner() as runner:
            _check_upload(runner.services, parsed_args.stores)
            self._stage(runner, image_id, parsed_args.file)
            spec = import_image(image_id, method=_DIRECT, stores=parsed_args.stores, all_stores=parsed_args.all_stores)
            try:
                facts = self.context.run(runner, spec, "the import")
            except errors.GlanceFlowsError as failure:
                retry = f"what is staged stays: try again with: glance-flows import {image_id} --method {_DIRECT}"
                raise type(failure)(f"{failure} ({retry})") from failure
            return columns.record(outcome(runner, image_id, facts))

    def _stage(self, runner: "Runner", image_id: str, file: str) -> "Staged":
        return stage(self.context, runner.services, image_id, file)


class Stage(base.ShowOne):
    """Stage a file for an import with glance-direct."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        _add_source(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Stage the file and print what it was found to be."""
        with self.context.runner() as runner:
            staged = stage(self.context, runner.services, parsed_args.image, parsed_args.file)
            status = runner.services.db.images.get(parsed_args.image).status
        return columns.record({"id": parsed_args.image, "status": status, **digests(staged.contents)})


class Save(base.ShowOne):
    """Save an image's data to a file, which appears whole and verified or not at all."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", metavar="ID", help="id of the image")
        parser.add_argument("--file", required=True, metavar="F", help="file to write; - is standard output")
        parser.add_argument("--force", action="store_true", help="replace a file that is there")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Save the data and print what it was found to be."""
        from glance_flows.cli import saving

        with self.context.runner() as runner:
            target = saving.target(parsed_args.file, force=parsed_args.force)
            with target as sink:
                contents = self._save(runner.services, parsed_args.image, sink)
                target.keep()
        return columns.record({"id": parsed_args.image, "file": parsed_args.file, **digests(contents)})

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Any, data: Any) -> int:
        """Print the record, unless standard output is where the data went."""
        if parsed_args.file == "-":
            return 0
        return super().produce_output(parsed_args, column_names, data)

    def _save(self, services: "Services", image_id: str, sink: Any) -> "Contents":
        from glance_flows.cli.jobs import Job
        from glance_flows.transfer import save_image

        identity = self.context.identity(services.conf)

        def work(cancel: Any, board: Any) -> Any:
            sink.stop_with(cancel)
            return save_image(services, image_id, sink, identity=identity, progress=board)

        contents: Contents = self.context.follow(Job(work, grace=_GRACE), "saving")
        return contents


def stage(context: Any, services: "Services", image_id: str, file: str) -> "Staged":
    """Stage a file and show how far it is.

    :raises SourceFailed: the file cannot be read
    """
    from glance_flows.cli.jobs import Job
    from glance_flows.cli.reading import chunks_of, opened
    from glance_flows.transfer import stage_image

    identity = context.identity(services.conf)
    size = services.conf.glance_flows.chunk_size
    with opened(file) as descriptor:

        def work(cancel: Any, board: Any) -> Any:
            chunks = chunks_of(descriptor, size, cancel)
            return stage_image(services, image_id, chunks, identity=identity, progress=board)

        staged: Staged = context.follow(Job(work), "staging")
    return staged


def digests(contents: "Contents") -> dict[str, Any]:
    """Return what data was found to be, by the names of an image's columns."""
    return {
        "size": contents.size,
        "checksum": contents.checksum,
        "os_hash_algo": contents.hash_algo,
        "os_hash_value": contents.hash_value,
    }


def _check_upload(services: "Services", stores: list[str] | None) -> None:
    """Refuse before any byte moves what the import would refuse once all of them are staged."""
    if _DIRECT not in services.methods:
        raise errors.Conflict(f"upload needs the import method {_DIRECT}, which enabled_import_methods does not have.")
    for name in stores or ():
        services.stores.get(name)
