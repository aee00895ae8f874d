"""Every option, once: Glance's own that we honour, and those of ``[glance_flows]`` (D2, D4).

The sample configuration, the option reference and the man pages are generated from :func:`list_opts`.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from oslo_config import cfg, types
from oslo_db import options as db_options
from oslo_utils import units

from glance_flows import errors, states

LOG = logging.getLogger(__name__)
#: Where oslo.config found a value, in words for its own developers.
#: Types of stores that are always there; to look for others takes a moment.
_USUAL_TYPES = frozenset({"file", "filesystem", "s3"})
_WHERE = re.compile(r" from LocationInfo\(.*?\)(?= is not| :|:|$)")

#: Attribute of a configuration whose obsolete options were named already.
_NAMED = "_glance_flows_named_obsolete"

GLANCE_OPTS: list[cfg.Opt] = [
    cfg.DictOpt(
        "enabled_backends",
        default={},
        help="The stores: a list of name:type pairs. Each has a section of its name with the options of its type.",
    ),
    cfg.BoolOpt("delayed_delete", default=False, help="Leave the data of deleted images to the scrubber."),
    cfg.IntOpt(
        "scrub_time", default=0, min=0, help="Seconds that a deleted image's data is kept before it is removed."
    ),
    cfg.IntOpt("scrub_pool_size", default=1, min=1, help="How many images are scrubbed at once."),
    cfg.IntOpt("wakeup_time", default=300, min=0, help="Seconds between two passes of a scrubber daemon."),
    cfg.BoolOpt("daemon", short="D", default=False, help="Run the scrubber as a daemon rather than once."),
    cfg.StrOpt(
        "metadata_encryption_key",
        secret=True,
        help="AES key of 16, 24 or 32 characters with which the URLs of locations are encrypted in the database.",
    ),
    cfg.StrOpt("admin_role", default="admin", help="The role whose holders may do everything."),
    cfg.StrOpt("hashing_algorithm", default="sha512", help="Algorithm of os_hash_value for new image data."),
    cfg.IntOpt("image_size_cap", default=units.Ti, min=1, help="The largest image, in bytes, that is taken in."),
    cfg.ListOpt(
        "enabled_import_methods",
        item_type=types.String(quotes=True),
        bounds=True,
        default=["glance-direct", "web-download", "copy-image"],
        help="The import methods on offer, each by the name of its plugin.",
    ),
    cfg.StrOpt("worker_self_reference_url", help="The URL of this host as its peers reach it; kept with staged data."),
]

#: Options of older releases that are read and do nothing, so that a configuration file need not be touched (D2).
OBSOLETE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(name, help="Accepted and ignored.")
    for name in (
        "send_identity_headers",
        "owner_is_tenant",
        "scrubber_datadir",
        "cleanup_scrubber",
        "cleanup_scrubber_time",
        "registry_host",
        "registry_port",
        "registry_client_protocol",
        "use_user_token",
        "auth_region",
        "data_api",
        "node_staging_uri",
    )
]

STORE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt("default_backend", help="The store that is used where a request names none, and read first in a copy.")
]

STAGING_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "filesystem_store_datadir",
        default="/var/lib/glance/os_glance_staging_store",
        help="Directory in which an image's bytes wait while they are imported.",
    )
]

IMPORT_OPTS: list[cfg.Opt] = [
    cfg.IntOpt("max_parallel_stores", default=4, min=1, help="How many stores one image is uploaded to at once (C22).")
]


def _filter(name: str, default: Sequence[str] = (), item: str = "String") -> cfg.Opt:
    kind = {"String": types.String(quotes=True), "Host": types.HostAddress(), "Port": types.Integer(1, 65535)}
    verb, what = name.split("_", 1)
    return cfg.ListOpt(
        name,
        item_type=kind[item],
        bounds=True,
        default=list(default),
        help=f"The {what} that web-download is {verb}; allowed lists win over disallowed ones.",
    )


FILTERING_OPTS: list[cfg.Opt] = [
    _filter("allowed_schemes", ["http", "https"]),
    _filter("disallowed_schemes"),
    _filter("allowed_hosts", item="Host"),
    _filter("disallowed_hosts", item="Host"),
    cfg.ListOpt(
        "allowed_ports",
        item_type=types.Integer(1, 65535),
        bounds=True,
        default=[80, 443],
        help="The ports that web-download is allowed; this list wins over disallowed_ports.",
    ),
    _filter("disallowed_ports", item="Port"),
]

EXECUTOR_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "engine_mode", default="parallel", choices=("serial", "parallel"), help="How taskflow runs a flow's tasks."
    ),
    cfg.IntOpt("max_workers", default=10, min=1, help="How many flows a process runs at once."),
]

FORMAT_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "disk_formats",
        default=["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"],
        deprecated_opts=[cfg.DeprecatedOpt("disk_formats", group="DEFAULT")],
        help="The values that disk_format may have.",
    ),
    cfg.ListOpt(
        "container_formats",
        default=["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"],
        deprecated_opts=[cfg.DeprecatedOpt("container_formats", group="DEFAULT")],
        help="The values that container_format may have.",
    ),
    cfg.BoolOpt(
        "require_image_format_match",
        default=True,
        help="Refuse data of container_format bare that is not of the declared disk_format (C24).",
    ),
]

TASK_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "task_time_to_live", default=48, min=0, help="Hours after which the row of a finished task may be purged."
    ),
]

OWN_OPTS: list[cfg.Opt] = [
    cfg.StrOpt("state_path", default="/var/lib/glance/flows", help="Directory for what this host keeps between runs."),
    cfg.StrOpt(
        "persistence_connection",
        secret=True,
        help="Database URL of the flows' own state, never Glance's database; by default an SQLite file in state_path.",
    ),
    cfg.StrOpt(
        "coordination_url",
        secret=True,
        help="Where scrubbers of several hosts see each other: a tooz URL of Redis, PostgreSQL or MySQL.",
    ),
    cfg.BoolOpt(
        "sync_stores",
        default=False,
        help="Have files on their disk before they are recorded, so that a loss of power loses none of them; slower.",
    ),
    cfg.IntOpt(
        "run_retention", default=7, min=0, max=36500, help="Days that a run which is over stays on the list of runs."
    ),
    cfg.IntOpt("stop_grace", default=30, min=0, help="Seconds that tasks in hand get to end when a process stops."),
    cfg.IntOpt(
        "lease_seconds",
        default=60,
        min=3,
        max=86400,
        help="A run that shows no sign of life for so long is dead (C25).",
    ),
    cfg.IntOpt(
        "foreign_lease_seconds",
        default=3600,
        min=60,
        max=30 * 86400,
        help="Likewise for an import that a glance-api runs: it renews its task only now and then.",
    ),
    cfg.IntOpt("store_timeout", default=300, min=1, help="Seconds without a byte after which a store is given up."),
    cfg.IntOpt("cancel_grace", default=5, min=0, help="Seconds that a store is given to stop when a run is cancelled."),
    cfg.IntOpt(
        "http_timeout", default=60, min=1, help="Seconds to wait for a web server to connect or to send a byte."
    ),
    cfg.IntOpt(
        "chunk_size",
        default=256 * units.Ki,
        min=64 * units.Ki,
        max=64 * units.Mi,
        help="Bytes read and written at a time.",
    ),
    cfg.FloatOpt(
        "progress_interval", default=5.0, min=0.1, help="Seconds between two progress messages in a task row."
    ),
    cfg.ListOpt(
        "notification_drivers",
        default=[],
        help="Who is told of events besides the log, each by the name of its plugin: messaging for Glance's own bus.",
    ),
    cfg.StrOpt(
        "copy_image_all_stores",
        default="missing",
        choices=("missing", "reject"),
        help="all_stores with copy-image: copy to the stores that lack the image, or reject the request (C8).",
    ),
    cfg.BoolOpt("require_identity", default=False, help="Refuse requests that name no identity (C4); for services."),
]

GROUPS: list[tuple[str | None, list[cfg.Opt]]] = [
    (None, GLANCE_OPTS),
    ("glance_store", STORE_OPTS),
    (states.STAGING_STORE, STAGING_OPTS),
    ("image_import_opts", IMPORT_OPTS),
    ("import_filtering_opts", FILTERING_OPTS),
    ("taskflow_executor", EXECUTOR_OPTS),
    ("image_format", FORMAT_OPTS),
    ("task", TASK_OPTS),
    ("glance_flows", OWN_OPTS),
]


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return every option by group, for the generators of samples and references (D4)."""
    return [*GROUPS, ("database", list(db_options.database_opts))]


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option on ``conf``; a service that embeds the library calls this on its own configuration."""
    for group, options in GROUPS:
        conf.register_opts(options, group=group)
    conf.register_opts(OBSOLETE_OPTS)
    conf.register_opts(db_options.database_opts, group="database")


def load(
    files: Iterable[str | Path] | None = None,
    directories: Iterable[str | Path] | None = None,
    *,
    project: str = "glance",
    program: str = "glance-api",
) -> cfg.ConfigOpts:
    """Read configuration files and return a checked configuration.

    :param files: paths of configuration files, later ones win; None looks where Glance's own are kept
    :param directories: directories whose ``*.conf`` files are read, in alphabetical order
    :raises ConfigurationError: a file is missing or malformed, or an option has a value it must not have (D2)
    """
    conf = cfg.ConfigOpts()
    register(conf)
    arguments = [part for path in files or () for part in ("--config-file", str(path))]
    arguments += [part for path in directories or () for part in ("--config-dir", str(path))]
    try:
        conf(arguments, project=project, prog=program, usage="")
    except (cfg.Error, SystemExit) as failure:
        raise errors.ConfigurationError(f"cannot read the configuration: {failure}") from failure
    except UnicodeDecodeError as failure:
        named = ", ".join(arguments[1::2]) or "a file"
        raise errors.ConfigurationError(f"cannot read the configuration: {named} is not text in UTF-8.") from failure
    check(conf)
    return conf


def check(conf: cfg.ConfigOpts) -> None:
    """Read every option once, refuse invalid values, and name the options that no longer do anything (D2).

    :raises ConfigurationError: naming the option
    """
    for group, options in list_opts():
        for opt in options:
            _check_value(conf, group, opt)
    default = conf.glance_store.default_backend
    if conf.enabled_backends and not default:
        raise errors.ConfigurationError("[glance_store] default_backend is not set: name one of enabled_backends.")
    if conf.enabled_backends and default not in conf.enabled_backends:
        known = ", ".join(sorted(conf.enabled_backends))
        raise errors.ConfigurationError(
            f"[glance_store] default_backend = {default} is not one of the stores: {known}."
        )
    _check_types(conf)
    _check_folders(conf)
    key = conf.metadata_encryption_key
    if key is not None and len(key.encode()) not in (16, 24, 32):
        raise errors.ConfigurationError("metadata_encryption_key must have 16, 24 or 32 characters.")
    _check_hash(conf.hashing_algorithm)
    _name_obsolete(conf)


def _check_types(conf: cfg.ConfigOpts) -> None:
    """Refuse a store of a type that no package on this host has, without loading any."""
    unknown = {name: kind for name, kind in conf.enabled_backends.items() if kind not in _USUAL_TYPES}
    if unknown:
        known = {*_USUAL_TYPES, *(point.name for point in metadata.entry_points(group="glance_store.drivers"))}
        for name, kind in unknown.items():
            if kind not in known:
                raise errors.ConfigurationError(f"enabled_backends: the store {name} has the unknown type {kind!r}.")


def _check_folders(conf: cfg.ConfigOpts) -> None:
    """Refuse an empty path: it would stand for wherever the process was started."""
    for group, name in ((states.STAGING_STORE, "filesystem_store_datadir"), ("glance_flows", "state_path")):
        if not (conf[group][name] or "").strip():
            raise errors.ConfigurationError(f"[{group}] {name} is empty: name a directory.")


def _check_hash(name: str) -> None:
    """Refuse what hashlib does not have, and what has no length of its own."""
    try:
        hashlib.new(name, usedforsecurity=False).hexdigest()
    except (ValueError, TypeError) as failure:
        raise errors.ConfigurationError(f"hashing_algorithm: there is no hash of the name {name!r}.") from failure


def _name_obsolete(conf: cfg.ConfigOpts) -> None:
    """Name the options that no longer do anything; once, however often a configuration is checked."""
    obsolete = [opt.name for opt in OBSOLETE_OPTS if conf[opt.dest] is not None]
    if obsolete and _NAMED not in vars(conf):
        vars(conf)[_NAMED] = True
        LOG.warning("These options no longer do anything and can be removed: %s", ", ".join(obsolete))


def _check_value(conf: cfg.ConfigOpts, group: str | None, opt: cfg.Opt) -> None:
    try:
        _ = conf[opt.dest] if group is None else conf[group][opt.dest]
    except (cfg.ConfigFileValueError, ValueError) as failure:
        section = f"[{group}] " if group else ""
        raise errors.ConfigurationError(f"{section}{opt.name} has an invalid value: {plain(failure)}") from failure


def plain(failure: Exception) -> str:
    """Return what is wrong with a value, without where oslo.config found it."""
    return _WHERE.sub("", str(failure))


def require_stores(conf: cfg.ConfigOpts) -> None:
    """Refuse a configuration without stores.

    :raises ConfigurationError: ``enabled_backends`` is empty
    """
    if not conf.enabled_backends:
        raise errors.ConfigurationError("enabled_backends names no store: nothing can be imported, copied or deleted.")
