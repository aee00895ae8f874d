"""Every option, once: Glance's own that we honour, and those of ``[glance_flows]`` (D2, D4).

The sample configuration, the option reference and the man pages are generated from :func:`list_opts`.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from oslo_config import cfg
from oslo_db import options as db_options

from glance_flows import errors, states
from glance_flows.opts import glance
from glance_flows.opts.own import OWN_OPTS

LOG = logging.getLogger(__name__)
#: Types of stores that are always there; to look for others takes a moment.
_USUAL_TYPES = frozenset({"file", "filesystem", "s3"})
#: Where oslo.config found a value, in words for its own developers.
_WHERE = re.compile(r" from LocationInfo\(.*?\)(?= is not| :|:|$)")

#: Attribute of a configuration whose obsolete options were named already.
_NAMED = "_glance_flows_named_obsolete"

GROUPS: list[tuple[str | None, list[cfg.Opt]]] = [
    (None, glance.GLANCE_OPTS),
    ("glance_store", glance.STORE_OPTS),
    (states.STAGING_STORE, glance.STAGING_OPTS),
    ("image_import_opts", glance.IMPORT_OPTS),
    ("import_filtering_opts", glance.FILTERING_OPTS),
    ("taskflow_executor", glance.EXECUTOR_OPTS),
    ("image_format", glance.FORMAT_OPTS),
    ("task", glance.TASK_OPTS),
    ("glance_flows", OWN_OPTS),
]


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return every option by group, for the generators of samples and references (D4)."""
    return [*GROUPS, ("database", list(db_options.database_opts))]


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option on ``conf``; a service that embeds the library calls this on its own configuration."""
    for group, options in GROUPS:
        conf.register_opts(options, group=group)
    conf.register_opts(glance.OBSOLETE_OPTS)
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
    obsolete = [opt.name for opt in glance.OBSOLETE_OPTS if conf[opt.dest] is not None]
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
