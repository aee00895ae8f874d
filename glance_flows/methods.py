"""Import methods: the contract of their plugins, and where they are found.

A method is a class in anybody's package, registered as an entry point of ``glance_flows.import_methods`` under the name
that requests use. The methods that ship with the library come the same way.
"""

import abc
import functools
import logging
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, ClassVar

from oslo_config import cfg
from stevedore import driver
from stevedore import exception as stevedore_exception

from glance_flows import errors, states
from glance_flows.request import ImportRequest
from glance_flows.task import Task

LOG = logging.getLogger(__name__)
NAMESPACE = "glance_flows.import_methods"


class ImportMethod(abc.ABC):
    """How the bytes of an image reach staging; everything else of an import is the flow's.

    :param name: the name under which it was registered
    """

    #: Statuses an image may have when this method starts (C2).
    statuses: ClassVar[frozenset[str]] = frozenset({states.QUEUED})
    #: The policy rule that allows it (C4).
    policy: ClassVar[str] = "modify_image"
    #: Whether a request must name a URI.
    needs_uri: ClassVar[bool] = False
    #: Options of the method; they are found in the section that :attr:`group` names.
    options: ClassVar[Sequence[cfg.Opt]] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def group(self) -> str:
        """The section of the method's options: ``[import_method_drop_box]`` for ``drop-box``."""
        return "import_method_" + self.name.replace("-", "_")

    @abc.abstractmethod
    def check(self, request: ImportRequest, conf: cfg.ConfigOpts) -> None:
        """Refuse a request that cannot work: at the door, and again as the flow's first task.

        :raises BadRequest: naming the field that is wrong
        """

    @abc.abstractmethod
    def tasks(self, request: ImportRequest) -> Sequence[Task]:
        """Return the tasks that stage the bytes; the last provides ``staged``. Pure: no I/O here."""


@functools.cache
def get(name: str) -> ImportMethod:
    """Return the method of a name.

    :raises ConfigurationError: no package registers it, several do, or it cannot be loaded
    """
    try:
        manager: Any = driver.DriverManager(
            NAMESPACE, name, invoke_on_load=True, invoke_args=(name,), on_load_failure_callback=_raise
        )
    except stevedore_exception.NoMatches as failure:
        known = ", ".join(available())
        raise errors.ConfigurationError(f"there is no import method {name!r}; installed are: {known}.") from failure
    except stevedore_exception.MultipleMatches as failure:
        raise errors.ConfigurationError(f"several packages register an import method {name!r}.") from failure
    method = manager.driver
    if not isinstance(method, ImportMethod):
        raise errors.ConfigurationError(f"the import method {name!r} is no ImportMethod but {type(method).__name__}.")
    return method


def available() -> list[str]:
    """Return the names of the installed methods, whether they are enabled or not."""
    return sorted(entry.name for entry in metadata.entry_points(group=NAMESPACE))


def load(conf: cfg.ConfigOpts, names: Iterable[str] | None = None) -> dict[str, ImportMethod]:
    """Load the enabled methods and register their options on ``conf``.

    :param names: by default those of ``enabled_import_methods``
    :raises ConfigurationError: one is misspelt or broken; its name is in the message
    """
    wanted = list(conf.enabled_import_methods if names is None else names)
    methods = {}
    for name in wanted:
        try:
            methods[name] = get(name)
        except errors.ConfigurationError as failure:
            raise errors.ConfigurationError(f"enabled_import_methods: {failure}") from failure
        if methods[name].options:
            conf.register_opts(list(methods[name].options), group=methods[name].group)
    return methods


def _raise(manager: object, point: object, failure: BaseException) -> None:
    name = getattr(point, "name", point)
    raise errors.ConfigurationError(f"the import method {name!r} cannot be loaded: {failure}") from failure
