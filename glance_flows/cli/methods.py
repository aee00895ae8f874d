"""``method list``: the import methods."""

import argparse
import inspect
from importlib import metadata
from typing import Any

from glance_flows import errors
from glance_flows.cli import base, columns

_COLUMNS = ("name", "enabled", "distribution", "statuses", "description")


class List(base.Lister):
    """List the import methods that are installed, and which of them are enabled."""

    def take_action(self, parsed_args: argparse.Namespace) -> base.Fields:
        """Print the methods.

        :raises ConfigurationError: ``enabled_import_methods`` names one that is not installed, or broken
        """
        from glance_flows import methods

        enabled = set(methods.load(self.context.conf()))
        points = sorted(metadata.entry_points(group=methods.NAMESPACE), key=lambda point: point.name)
        return _COLUMNS, [_row(point, point.name in enabled) for point in points]


def _row(point: metadata.EntryPoint, enabled: bool) -> list[Any]:
    from glance_flows import methods

    try:
        method = methods.get(point.name)
        statuses, text = sorted(method.statuses), (inspect.getdoc(type(method)) or "").partition("\n")[0]
    except errors.ConfigurationError as failure:
        statuses, text = [], str(failure)
    dist = f"{point.dist.name} {point.dist.version}" if point.dist else None
    return [point.name, enabled, columns.formattable(dist), columns.formattable(statuses), columns.formattable(text)]
