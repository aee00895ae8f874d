"""The door to the database: one object, with a room for each kind of row."""

from datetime import timedelta
from typing import Any, Self

import sqlalchemy as sa
from oslo_config import cfg

from glance_flows.db import models
from glance_flows.db.claims import Claim, Claims
from glance_flows.db.crypt import Cryptographer
from glance_flows.db.deletion import Deletions
from glance_flows.db.engine import Engine
from glance_flows.db.images import Images
from glance_flows.db.inventory import Inventory
from glance_flows.db.locations import Locations
from glance_flows.db.pending import Pending
from glance_flows.db.properties import Properties
from glance_flows.db.restoration import Restorations


class Database:
    """Glance's database.

    :param engine: opens its transactions
    :param conf: options ``metadata_encryption_key``, ``[task] task_time_to_live`` and the leases of ``[glance_flows]``
    """

    def __init__(self, engine: Engine, conf: cfg.ConfigOpts) -> None:
        own = conf.glance_flows
        cryptographer = Cryptographer(conf.metadata_encryption_key)
        self.engine = engine
        self.images = Images(engine, cryptographer)
        self.locations = Locations(engine, cryptographer)
        self.properties = Properties(engine)
        self.deletions = Deletions(engine)
        lease = timedelta(seconds=own.lease_seconds)
        self.claims = Claims(
            engine,
            lease=lease,
            foreign_lease=timedelta(seconds=own.foreign_lease_seconds),
            keep=timedelta(hours=conf.task.task_time_to_live),
        )
        self.pending = Pending(engine, cryptographer, self.claims, lease)
        self.restorations = Restorations(engine, self.claims)
        self.inventory = Inventory(engine, cryptographer, self.claims)

    #: Makes the value with which an image is claimed.
    claim = Claim

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """Return the database that ``[database] connection`` names; nothing is connected yet.

        :raises ConfigurationError: there is no connection
        """
        return cls(Engine(conf), conf)

    def tasks_of(self, image_id: str) -> list[dict[str, Any]]:
        """Return the task rows of an image, oldest first, as Glance shows them."""
        tasks, info = models.tasks, models.task_info
        query = sa.select(tasks, info.c.input, info.c.result, info.c.message)
        query = query.select_from(tasks.outerjoin(info, info.c.task_id == tasks.c.id)).where(
            tasks.c.image_id == image_id
        )
        ordered = query.order_by(tasks.c.created_at, tasks.c.id)
        return self.engine.read(lambda connection: [dict(row) for row in connection.execute(ordered).mappings()])

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
