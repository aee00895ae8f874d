"""The stores of this host, from its configuration (D2)."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import glance_store
from oslo_config import cfg
from stevedore import driver

from glance_flows import errors, opts, states
from glance_flows.images import Location
from glance_flows.stores.bounded import Patience
from glance_flows.stores.crew import Crew
from glance_flows.stores.files import FileDriver
from glance_flows.stores.store import DriverStore

T = TypeVar("T")
LOG = logging.getLogger(__name__)
_NAMESPACE = "glance_store.drivers"
_FILE_TYPES = frozenset({"file", "filesystem"})


class Stores:
    """Every enabled store by its name.

    glance_store keeps its stores in process-wide tables; here each instance has its own, so that one process can serve
    several configurations.
    """

    def __init__(self, stores: dict[str, DriverStore], default: str) -> None:
        self._stores = stores
        self.default = default

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """Load and configure the driver of every store in ``enabled_backends``.

        :raises ConfigurationError: there are none, or a type or an option of one is wrong
        """
        opts.require_stores(conf)
        staging = str(conf[states.STAGING_STORE].filesystem_store_datadir)
        folders = {os.path.realpath(staging): states.STAGING_STORE}
        stores = {name: _load(conf, name, kind, folders) for name, kind in conf.enabled_backends.items()}
        return cls(stores, conf.glance_store.default_backend)

    def __iter__(self) -> Iterator[DriverStore]:
        return iter(self._stores.values())

    @property
    def names(self) -> list[str]:
        """The names of the stores, as configured."""
        return list(self._stores)

    def get(self, name: str) -> DriverStore:
        """Return a store by its name.

        :raises StoreUnavailable: there is no such store on this host; the message names those there are (C6)
        """
        try:
            return self._stores[name]
        except KeyError:
            known = ", ".join(self._stores)
            raise errors.StoreUnavailable(f"there is no store {name!r} on this host; there are: {known}.") from None

    def holding(self, location: Location) -> DriverStore:
        """Return the store that has a location's data: the one its metadata names, else one that knows its URL (S10).

        :raises StoreUnavailable: this host has no such store
        """
        if location.store is not None:
            return self.get(location.store)
        scheme = location.url.partition(":")[0]
        matching = [store for store in self if scheme in store.schemes]
        owners = [store for store in matching if store.owns(location.url)] or matching
        if not owners:
            raise errors.StoreUnavailable(f"no store on this host understands URLs that begin with {scheme}.")
        return owners[0]

    @staticmethod
    def crew(act: Callable[[T], bool], stuck: Callable[[T, errors.StoreTimeout], T | None], size: int) -> Crew[T]:
        """Return threads that do many things with stores, any of which may never answer; see :class:`Crew`."""
        return Crew(act, stuck, size)

    def by_preference(self, locations: tuple[Location, ...]) -> list[tuple[Location, DriverStore]]:
        """Return the locations that this host can read: the default store's first, then by weight (C11)."""
        known = []
        for location in locations:
            try:
                known.append((location, self.holding(location)))
            except errors.StoreUnavailable as failure:
                LOG.warning("Location %s cannot be read here: %s", location.id, failure)
        return sorted(known, key=lambda pair: (pair[1].name != self.default, -pair[1].weight))


def _load(conf: cfg.ConfigOpts, name: str, kind: str, folders: dict[str, str]) -> DriverStore:
    if name in states.RESERVED_STORES or name.startswith(states.RESERVED_PREFIX):
        raise errors.ConfigurationError(f"enabled_backends: the name {name} is reserved.")
    trouble = None
    try:
        instance: Any = _driver_class(kind)(conf, name)
        _check_values(name, instance)
        instance.configure(re_raise_bsc=True)
    except RuntimeError as failure:
        raise errors.ConfigurationError(
            f"enabled_backends: the store {name} has the unknown type {kind!r}."
        ) from failure
    except cfg.ConfigFileValueError as failure:
        raise errors.ConfigurationError(f"[{name}]: {opts.plain(failure)}") from failure
    except (glance_store.BadStoreConfiguration, OSError) as failure:
        # One store that is out of order, for a disk that is not mounted, say, must not keep the others from work.
        trouble = str(getattr(failure, "msg", None) or failure).strip().rstrip(".")
        LOG.error("The store %s takes no images for now: %s", name, trouble)
    if isinstance(instance, FileDriver) and trouble is None:
        _check_paths(name, instance, folders)
    own = conf.glance_flows
    if isinstance(instance, FileDriver):
        instance.sync = own.sync_stores
    patience = Patience(own.store_timeout, own.cancel_grace)
    return DriverStore(name, kind, instance, patience, own.chunk_size, trouble)


def _check_values(name: str, instance: Any) -> None:
    """Read the options that the driver reads when it is too late to refuse them."""
    _ = instance.weight
    if not isinstance(instance, FileDriver):
        return
    mode = str(instance.store_conf.filesystem_store_file_perm)
    if not re.fullmatch(r"0|-?[1-7][0-7]*", mode):
        raise errors.ConfigurationError(f"[{name}] filesystem_store_file_perm = {mode} is not an octal number.")


def _check_paths(name: str, instance: FileDriver, folders: dict[str, str]) -> None:
    """Refuse folders whose paths a URL of a location cannot hold: the data would be stored and never found again.

    And those with two uses: what is removed from the one would be gone from the other, too.

    :param folders: those that have a use already, and what uses them
    """
    for path in instance.candidates(""):
        wrong = next((character for character in path if character in "?#"), None)
        if wrong is not None:
            raise errors.ConfigurationError(f"[{name}]: the path {path} holds a {wrong!r}, which a location cannot.")
        user = folders.setdefault(os.path.realpath(path), name)
        if user != name:
            raise errors.ConfigurationError(
                f"[{name}] filesystem_store_datadir: {path.rstrip('/')} is the folder of [{user}] already."
            )


def _driver_class(kind: str) -> Any:
    if kind in _FILE_TYPES:
        return FileDriver
    if kind == "s3":
        # It brings its client, ten megabytes that a host without such a store does not need.
        from glance_flows.stores.objects import S3Driver

        return S3Driver
    return driver.DriverManager(_NAMESPACE, kind, invoke_on_load=False).driver
