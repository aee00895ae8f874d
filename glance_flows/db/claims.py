"""One holder per image: the import lock that Glance and these flows share (C25), and the task row of its holder.

The lock is the reserved property ``os_glance_import_task`` with the run's id. Its row and the row of the task appear
together and go together, in one transaction each, so that nobody ever sees a lock without a holder.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import models, properties
from glance_flows.db.engine import Engine

#: The key in a task's input by which a run of this library is told from one of a glance-api.
MARK = "glance_flows"
#: What a glance-api, too, writes into the task of a run whose lock it takes over.
PREEMPTED = "Expired lock preempted"
_TYPE = "api_image_import"
_tasks, _info, _props, _images = models.tasks, models.task_info, models.image_properties, models.images


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed and by whom: the rows that Glance shows for an import.

    :param run_id: id of the run and of its task
    :param image_id: the image that is held
    :param statuses: the statuses the image may have; in any other the claim is refused
    :param owner: project that the task belongs to
    :param request: the request, as Glance keeps it in the task's input
    """

    run_id: str
    image_id: str
    statuses: tuple[str, ...]
    owner: str
    request: Mapping[str, Any]
    user: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    """What a live run finds when it renews its lease: whether it still holds the image, and whether there is one."""

    holder: str | None
    gone: bool


def guard(connection: sa.Connection, run_id: str, image_id: str) -> str:
    """Lock the image's row, make sure that the run still holds the image, and return the image's status.

    Every write of a run goes through here in its own transaction, so that a run that was overtaken writes nothing.

    :raises Gone: the image was deleted (C15)
    :raises LockLost: another run holds the image
    """
    status = alive(connection, image_id)
    holder = properties.value(connection, image_id, states.LOCK)
    if holder != run_id:
        raise errors.LockLost(f"image {image_id} is held by {holder or 'nobody'}, no longer by run {run_id}.")
    return status


def alive(connection: sa.Connection, image_id: str) -> str:
    """Lock the row of a live image and return its status.

    :raises Gone: there is no such live image
    """
    query = sa.select(_images.c.status).where(_images.c.id == image_id, _images.c.deleted == sa.false())
    status = connection.execute(query.with_for_update()).scalar_one_or_none()
    if status is None or status in states.GONE:
        raise errors.Gone(f"image {image_id} was deleted.")
    return str(status)


class Claims:
    """Taking, renewing and dropping the lock of an image.

    :param lease: age of its last sign of life at which a run of this library counts as dead
    :param foreign_lease: likewise for an import of a glance-api
    :param keep: how long a finished task is kept before Glance may purge it
    """

    def __init__(self, engine: Engine, lease: timedelta, foreign_lease: timedelta, keep: timedelta) -> None:
        self._engine = engine
        self._lease = lease
        self._foreign_lease = foreign_lease
        self._keep = keep

    def take(self, claim: Claim) -> str:
        """Take the image for a run and make its task row, in one transaction; return the image's status.

        :raises Gone: the image was deleted (C5)
        :raises Conflict: the image is not in one of the statuses asked for (C2)
        :raises ImageBusy: another live run holds it (C9); nothing is left behind
        """

        def change(connection: sa.Connection) -> str:
            status = alive(connection, claim.image_id)
            if status not in claim.statuses:
                wanted = " or ".join(claim.statuses)
                raise errors.Conflict(f"image {claim.image_id} is {status}; this needs it to be {wanted}.")
            if not self._holds(connection, claim):
                dead = self.evict(connection, claim.image_id)
                seize(connection, claim.run_id, claim.image_id, dead)
                _insert_task(connection, claim)
            return status

        try:
            return self._engine.write(change)
        except errors.DatabaseError as failure:
            if isinstance(failure.__cause__, db_exception.DBDuplicateEntry):
                raise errors.ImageBusy(f"image {claim.image_id} was taken by another operation.") from failure
            raise

    def take_again(self, run_id: str, image_id: str) -> bool:
        """Have the image held by a run that is taken up again; tell whether nobody else had it in between.

        Where somebody had, the run holds it now to clear up after itself, and must not go on.

        :raises ImageBusy: another live run holds it
        """

        seized: list[str] = []

        def change(connection: sa.Connection) -> bool:
            try:
                alive(connection, image_id)
            except errors.Gone:
                return True
            now = timeutils.utcnow()
            if properties.value(connection, image_id, states.LOCK) == run_id:
                connection.execute(sa.update(_tasks).where(_tasks.c.id == run_id).values(updated_at=now))
                return not seized  # unless it was taken just now, by a transaction whose end nobody heard of
            if self._released(connection, run_id):
                return True
            seize(connection, run_id, image_id, self.evict(connection, image_id))
            seized.append(run_id)
            return False

        return self._engine.write(change)

    def hold(self, run_id: str, image_id: str) -> None:
        """Have the image held by a run that is over, for as long as it takes to finish what it could not undo.

        :raises ImageBusy: another live run holds it
        """

        def change(connection: sa.Connection) -> None:
            try:
                alive(connection, image_id)
            except errors.Gone:
                return
            if properties.value(connection, image_id, states.LOCK) != run_id:
                seize(connection, run_id, image_id, self.evict(connection, image_id))

        self._engine.write(change)

    def drop(self, run_id: str, image_id: str) -> None:
        """Drop the lock, if the run holds it, and leave its task as it is."""
        lock = sa.and_(_props.c.image_id == image_id, _props.c.name == states.LOCK, _props.c.value == run_id)
        self._engine.write(lambda connection: connection.execute(sa.delete(_props).where(lock)))

    @staticmethod
    def _released(connection: sa.Connection, run_id: str) -> bool:
        """Whether a run gave its lock up itself, at its very end: whoever takes a lock over says so in the task."""
        query = sa.select(_tasks.c.status, _info.c.message).join(_info, _info.c.task_id == _tasks.c.id)
        task = connection.execute(query.where(_tasks.c.id == run_id)).first()
        over = (states.TASK_SUCCESS, states.TASK_FAILURE)
        return task is not None and task.status in over and task.message != PREEMPTED

    def check_free(self, image_id: str) -> None:
        """Refuse early, at the door, what :meth:`take` would refuse.

        :raises ImageBusy: a live run holds the image (C9)
        """
        self._engine.read(lambda connection: self.evict(connection, image_id))

    def release(self, claim: Claim, status: str, message: str, result: Mapping[str, Any] | None = None) -> bool:
        """Drop the lock, if the run still holds it, and finish its task; tell whether it was held, now or before that.

        :param status: ``success`` or ``failure``
        :param message: what Glance shows for the task
        """

        def change(connection: sa.Connection) -> bool:
            held = sa.and_(_props.c.image_id == claim.image_id, _props.c.name == states.LOCK)
            before = self._released(connection, claim.run_id)
            # Of an image deleted meanwhile Glance has soft-deleted the lock with the other properties.
            dropped = connection.execute(sa.delete(_props).where(held, _props.c.value == claim.run_id))
            self._end_task(connection, claim.run_id, status)
            info = {"message": _plain(message), "result": result}
            connection.execute(sa.update(_info).where(_info.c.task_id == claim.run_id).values(**info))
            return bool(dropped.rowcount) or before

        return self._engine.write(change)

    def close_task(self, run_id: str, status: str) -> None:
        """Finish the task row of a run that claimed many images."""
        self._engine.write(lambda connection: self._end_task(connection, run_id, status))

    def _end_task(self, connection: sa.Connection, run_id: str, status: str) -> None:
        now = timeutils.utcnow()
        finished = {"status": status, "updated_at": now, "expires_at": now + self._keep}
        connection.execute(sa.update(_tasks).where(_tasks.c.id == run_id).values(**finished))

    def renew(self, messages: Mapping[str, str | None]) -> None:
        """Renew the leases of runs, and tell how far they are.

        :param messages: what each run has to say by its id, None to leave the message as it is
        """

        def change(connection: sa.Connection) -> None:
            ours = sa.and_(_tasks.c.id.in_(sorted(messages)), _tasks.c.status == states.TASK_PROCESSING)
            connection.execute(sa.update(_tasks).where(ours).values(updated_at=timeutils.utcnow()))
            # A run that ended meanwhile has had its last word: what it says of progress comes too late.
            for run_id in connection.execute(sa.select(_tasks.c.id).where(ours).order_by(_tasks.c.id)).scalars().all():
                if messages[run_id] is not None:
                    said = sa.update(_info).where(_info.c.task_id == run_id).values(message=_plain(messages[run_id]))
                    connection.execute(said)

        self._engine.write(change)

    def open_task(self, run_id: str) -> None:
        """Make the task row of a run that claims many images, so that a glance-api honours its claims."""
        claim = Claim(run_id, "", (), "", {"glance_flows": "scrub"})

        def change(connection: sa.Connection) -> None:
            if not connection.execute(sa.select(_tasks.c.id).where(_tasks.c.id == run_id)).first():
                _insert_task(connection, claim)

        self._engine.write(change)

    def look(self, image_ids: Iterable[str]) -> dict[str, Sign]:
        """Tell for each image who holds it and whether it is gone; one query for all of them."""
        lock = sa.and_(_props.c.image_id == _images.c.id, _props.c.name == states.LOCK, _props.c.deleted == sa.false())
        query = sa.select(_images.c.id, _images.c.deleted, _images.c.status, _props.c.value)
        query = query.select_from(_images.outerjoin(_props, lock)).where(_images.c.id.in_(sorted(image_ids)))

        def read(connection: sa.Connection) -> dict[str, Sign]:
            rows = connection.execute(query)
            return {row.id: Sign(row.value, bool(row.deleted) or row.status in states.GONE) for row in rows}

        return self._engine.read(read)

    def _holds(self, connection: sa.Connection, claim: Claim) -> bool:
        """Whether the run has the image already: its task was interrupted after the act and is executed again."""
        return properties.value(connection, claim.image_id, states.LOCK) == claim.run_id

    def evict(self, connection: sa.Connection, image_id: str) -> str | None:
        """Refuse if a live run holds the image; return the id of a dead run whose lock may be overwritten, or None."""
        held = sa.and_(_props.c.image_id == image_id, _props.c.name == states.LOCK, _props.c.deleted == sa.false())
        lock = connection.execute(
            sa.select(_props.c.value, _props.c.created_at, _props.c.updated_at).where(held)
        ).first()
        if lock is None:
            return None
        left = self.time_left(connection, lock)
        if left > timedelta():
            raise errors.ImageBusy(
                f"image {image_id} is held by run {lock.value}; try again when it is done"
                f" (if it died, in {max(1, int(left.total_seconds()))} seconds)."
            )
        return str(lock.value)

    def time_left(self, connection: sa.Connection, lock: Any) -> timedelta:
        """Return how long a lock's row keeps others out without another sign of life of its holder.

        A run on one image renews its task, a run on a page of images the lock itself.
        """
        query = sa.select(_tasks.c.updated_at, _info.c.input).join(_info, _info.c.task_id == _tasks.c.id, isouter=True)
        task = connection.execute(query.where(_tasks.c.id == lock.value)).first()
        # A glance-api writes the lock a moment before the task: a lock without a task is not dead at once.
        signs = (task and task.updated_at, lock.updated_at, lock.created_at)
        ours = task is None or MARK in (task.input or {})
        lease = self._lease if ours else self._foreign_lease
        last: datetime = max(sign for sign in signs if sign)
        return last + lease - timeutils.utcnow()


def seize(connection: sa.Connection, run_id: str, image_id: str, dead: str | None) -> None:
    """Write the lock over a deleted row or a dead run's, or insert it; a glance-api that was faster wins."""
    if dead is not None:
        _fail_task(connection, dead)
    free = sa.or_(_props.c.deleted == sa.true(), _props.c.value == dead)
    row = sa.and_(_props.c.image_id == image_id, _props.c.name == states.LOCK, free)
    now = timeutils.utcnow()
    values = {"value": run_id, "deleted": False, "deleted_at": None, "updated_at": now}
    if not connection.execute(sa.update(_props).where(row).values(**values)).rowcount:
        connection.execute(sa.insert(_props).values(image_id=image_id, name=states.LOCK, value=run_id))


def _fail_task(connection: sa.Connection, run_id: str) -> None:
    """Fail the task of a dead run, in the words of a glance-api that takes a lock over."""
    unfinished = sa.and_(_tasks.c.id == run_id, _tasks.c.status.in_((states.TASK_PENDING, states.TASK_PROCESSING)))
    failed = {"status": states.TASK_FAILURE, "updated_at": timeutils.utcnow()}
    if connection.execute(sa.update(_tasks).where(unfinished).values(**failed)).rowcount:
        told = sa.update(_info).where(_info.c.task_id == run_id)
        connection.execute(told.values(message=PREEMPTED))


def _plain(message: str | None) -> str | None:
    """Return a message that every table can hold: a Glance on MySQL mostly keeps characters of three bytes only."""
    return (
        None
        if message is None
        else "".join(each if ord(each) < 0x10000 else "\N{REPLACEMENT CHARACTER}" for each in message)
    )


def _insert_task(connection: sa.Connection, claim: Claim) -> None:
    now = timeutils.utcnow()
    connection.execute(
        sa.insert(_tasks).values(
            id=claim.run_id,
            type=_TYPE,
            status=states.TASK_PROCESSING,
            owner=claim.owner,
            image_id=claim.image_id or None,
            user_id=claim.user,
            request_id=claim.request_id,
            created_at=now,
            updated_at=now,
        )
    )
    request = {**claim.request, MARK: {"run": claim.run_id}}
    connection.execute(sa.insert(_info).values(task_id=claim.run_id, input=request, message=""))
