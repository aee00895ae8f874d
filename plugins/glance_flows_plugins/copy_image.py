"""copy-image: the data comes from a store that has it."""

from collections.abc import Sequence
from typing import Any

from glance_flows import ImportMethod, ImportRequest, Task, errors, states
from glance_flows.tasks import StageFromStore


class CopyImage(ImportMethod):
    """Copies an active image to more stores."""

    statuses = frozenset({states.ACTIVE})
    policy = "copy_image"

    def check(self, request: ImportRequest, conf: Any) -> None:
        """Refuse a URI: there is nothing to fetch.

        :raises BadRequest: the request names one
        """
        if request.uri is not None:
            raise errors.BadRequest("uri: copy-image takes none.")

    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the task that finds a good copy."""
        return [StageFromStore()]
