"""The options of Glance's own that we honour, by the section they stand in (D2)."""

from collections.abc import Sequence

from oslo_config import cfg, types
from oslo_utils import units

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
