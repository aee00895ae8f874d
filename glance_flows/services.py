"""The services of one host, made from its configuration: what a runner hands to the tasks of a flow."""

import functools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from oslo_config import cfg

from glance_flows import methods, opts
from glance_flows.db import Database
from glance_flows.methods import ImportMethod
from glance_flows.notify import Notifier
from glance_flows.persistence import Persistence
from glance_flows.stores import StagingArea, Stores

if TYPE_CHECKING:
    from glance_flows.board import JobBoard
    from glance_flows.policy import Policy


@dataclass(frozen=True)
class Services:
    """Everything a flow works with; never stored with a run (F2).

    The policy and the import methods are read when somebody first asks for them, if they were not before: together
    they take as long as half the start of a scrubber, which needs neither.
    """

    conf: cfg.ConfigOpts
    db: Database
    stores: Stores
    staging: StagingArea
    notifier: Notifier
    persistence: Persistence

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, notifier: Notifier | None = None, *, imports: bool = True) -> Self:
        """Make the services that a configuration describes.

        :param imports: whether images may be imported; if so, what only imports need is made and checked at once
        :raises ConfigurationError: naming the option that is wrong (D2)
        """
        opts.register(conf)
        opts.check(conf)
        services = cls(
            conf=conf,
            stores=Stores.from_conf(conf),
            db=Database.from_conf(conf),
            staging=StagingArea(conf),
            notifier=notifier or Notifier.from_conf(conf),
            persistence=Persistence.from_conf(conf),
        )
        if imports:
            _ = services.methods, services.policy
        return services

    @functools.cached_property
    def methods(self) -> dict[str, ImportMethod]:
        """The enabled import methods by their names.

        :raises ConfigurationError: one is misspelt or broken
        """
        return methods.load(self.conf)

    @functools.cached_property
    def policy(self) -> "Policy":
        """Who may do what."""
        from glance_flows.policy import Policy

        return Policy(self.conf)

    @property
    def host(self) -> str:
        """The name of this host, as other hosts are told it."""
        return str(self.conf.glance_flows.host or socket.gethostname())

    @functools.cached_property
    def board(self) -> "JobBoard":
        """The jobboard; opened when it is first asked for, since most runs need none.

        :raises ConfigurationError: there is none, or it cannot be used
        """
        from glance_flows.board import JobBoard

        return JobBoard.from_conf(self.conf)

    def injected(self) -> dict[str, Any]:
        """Return the services by the names under which tasks ask for them."""
        return {
            "conf": self.conf,
            "db": self.db,
            "stores": self.stores,
            "staging": self.staging,
            "notifier": self.notifier,
        }

    def close(self) -> None:
        """Close what is open."""
        self.db.close()
        self.persistence.close()
        if "board" in vars(self):
            self.board.close()
