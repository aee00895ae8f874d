"""``import``, ``copy``, ``delete``: the flows."""

import argparse
from typing import TYPE_CHECKING, Any

from glance_flows import errors
from glance_flows.cli import arguments, background, base, columns

if TYPE_CHECKING:
    from glance_flows.cli.context import Context
    from glance_flows.flow import FlowSpec
    from glance_flows.runner import Runner


class Import(base.ShowOne):
    """Import data into an image and put it into stores."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", metavar="ID", help="id of the image")
        parser.add_argument("--method", required=True, metavar="M", help="import method, as method list shows them")
        parser.add_argument("--uri", metavar="U", help="where the data comes from, for methods that fetch it")
        arguments.add_stores(parser, required=False, what="put the data into")
        _add_allow_failure(parser)
        arguments.add_pairs(parser, "--parameter", "a parameter of the method", arguments.parameter)
        background.add_arguments(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Import and print the outcome."""
        from glance_flows.flows import import_image

        spec = import_image(
            parsed_args.image,
            method=parsed_args.method,
            stores=parsed_args.stores,
            all_stores=parsed_args.all_stores,
            uri=parsed_args.uri,
            allow_failure=parsed_args.allow_failure,
            parameters=dict(parsed_args.parameter),
        )
        return _carried_out(self.context, spec, "the import", parsed_args)


class Copy(base.ShowOne):
    """Copy an image to more stores."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", metavar="ID", help="id of the image")
        arguments.add_stores(parser, required=True, what="copy to")
        _add_allow_failure(parser)
        background.add_arguments(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Copy and print the outcome."""
        from glance_flows.flows import copy_image

        spec = copy_image(
            parsed_args.image,
            to=parsed_args.stores,
            all_stores=parsed_args.all_stores,
            allow_failure=parsed_args.allow_failure,
        )
        return _carried_out(self.context, spec, "the copy", parsed_args)


class Delete(base.Lister):
    """Delete images, one after the other; one that fails does not keep the next from being deleted."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("images", metavar="ID", nargs="+", help="id of an image")
        when = parser.add_mutually_exclusive_group()
        later, now = "leave the data to the scrubber", "remove the data now"
        whatever = "whatever delayed_delete says"
        when.add_argument("--delayed", action="store_true", default=None, help=f"{later}, {whatever}")
        when.add_argument("--now", action="store_false", dest="delayed", help=f"{now}, {whatever}")
        background.add_post(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Delete and print what became of each image."""
        rows = []
        with self.context.runner() as runner:
            for image_id in dict.fromkeys(parsed_args.images):
                status, message = self._delete(runner, image_id, parsed_args)
                rows.append([image_id, status, columns.formattable(message)])
        return ("id", "status", "message"), rows

    def _delete(self, runner: "Runner", image_id: str, asked: argparse.Namespace) -> tuple[str, str]:
        from glance_flows.cli.told import tell
        from glance_flows.flows import delete_image

        spec = delete_image(image_id, delayed=asked.delayed)
        try:
            if asked.post:
                return "posted", f"run {runner.post(spec, identity=self.context.identity(runner.services.conf)).id}"
            self.context.run(runner, spec, f"the deletion of {image_id}")
            return runner.services.db.images.get(image_id).status, ""
        except errors.GlanceFlowsError as failure:
            self.status = 1
            tell(failure, debug=self.context.debug)
            return "failed", str(failure)


def outcome(runner: "Runner", image_id: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what an import or copy did.

    :param facts: of its run
    """
    image = runner.services.db.images.get(image_id)
    tally = facts["tally"]
    return {
        "id": image_id,
        "run": facts["run_id"],
        "status": image.status,
        "size": image.size,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "stores": image.stores,
        "done": tally["done"],
        "failed": tally["failed"],
        "message": tally["message"],
    }


def _carried_out(context: "Context", spec: "FlowSpec", what: str, parsed_args: argparse.Namespace) -> base.Fields:
    with context.runner() as runner:
        if parsed_args.no_wait:
            return background.begin(context, runner, spec)
        if parsed_args.post:
            return background.post(context, runner, spec)
        facts = context.run(runner, spec, what)
        return columns.record(outcome(runner, parsed_args.image, facts))


def _add_allow_failure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-failure",
        action="store_true",
        default=None,
        help="keep the copies of the stores that succeed when another one fails",
    )
