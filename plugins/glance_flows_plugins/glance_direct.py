"""glance-direct: the data is already staged, by ``glance-flows image stage`` or by a glance-api."""

from collections.abc import Sequence
from typing import Any

from glance_flows import ImportMethod, ImportRequest, Task, errors, states
from glance_flows.tasks import AdoptStaged


class GlanceDirect(ImportMethod):
    """Imports what was staged on this host."""

    statuses = frozenset({states.UPLOADING})

    def check(self, request: ImportRequest, conf: Any) -> None:
        """Refuse a URI: there is nothing to fetch.

        :raises BadRequest: the request names one
        """
        if request.uri is not None:
            raise errors.BadRequest("uri: glance-direct takes none.")

    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the task that reads what is staged."""
        return [AdoptStaged()]
