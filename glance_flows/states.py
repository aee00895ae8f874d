"""The states of images, locations and task rows, as Glance spells them, and which changes of state are legal."""

from typing import Final

QUEUED: Final = "queued"
SAVING: Final = "saving"
UPLOADING: Final = "uploading"
IMPORTING: Final = "importing"
ACTIVE: Final = "active"
DEACTIVATED: Final = "deactivated"
KILLED: Final = "killed"
PENDING_DELETE: Final = "pending_delete"
DELETED: Final = "deleted"

#: Statuses of images that answer as deleted to everybody (S1, C3).
GONE: Final = frozenset({PENDING_DELETE, DELETED})

#: Which status may follow which. A flow undoes its own change by going back, so both directions are listed.
IMAGE_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    QUEUED: frozenset({SAVING, UPLOADING, IMPORTING, ACTIVE, DELETED}),
    SAVING: frozenset({ACTIVE, KILLED, QUEUED, PENDING_DELETE, DELETED}),
    UPLOADING: frozenset({IMPORTING, QUEUED, DELETED}),
    IMPORTING: frozenset({ACTIVE, QUEUED, UPLOADING, PENDING_DELETE, DELETED}),
    ACTIVE: frozenset({DEACTIVATED, PENDING_DELETE, DELETED, QUEUED, UPLOADING, IMPORTING}),
    DEACTIVATED: frozenset({ACTIVE, PENDING_DELETE, DELETED}),
    KILLED: frozenset({PENDING_DELETE, DELETED}),
    PENDING_DELETE: frozenset({ACTIVE, DEACTIVATED, KILLED, SAVING, IMPORTING, DELETED}),
    DELETED: frozenset(),
}

TASK_PENDING: Final = "pending"
TASK_PROCESSING: Final = "processing"
TASK_SUCCESS: Final = "success"
TASK_FAILURE: Final = "failure"

#: The namespace of properties that only flows and Glance itself write (C28).
RESERVED_PREFIX: Final = "os_glance"
LOCK: Final = "os_glance_import_task"
IMPORTING_TO: Final = "os_glance_importing_to_stores"
FAILED_IMPORT: Final = "os_glance_failed_import"
STAGE_HOST: Final = "os_glance_stage_host"

STAGING_STORE: Final = "os_glance_staging_store"
TASKS_STORE: Final = "os_glance_tasks_store"
RESERVED_STORES: Final = frozenset({STAGING_STORE, TASKS_STORE})


def may_change(status: str, to: str) -> bool:
    """Tell whether an image in ``status`` may go to the status ``to``."""
    return to in IMAGE_TRANSITIONS.get(status, frozenset())


def is_reserved_property(name: str) -> bool:
    """Tell whether ``name`` is a property that no user or plugin may write (C28).

    Some databases take names for equal that differ in case or in blanks around them.
    """
    return name.strip().casefold().startswith(RESERVED_PREFIX)
