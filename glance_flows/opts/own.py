"""The options of ``[glance_flows]`` (D2)."""

from oslo_config import cfg
from oslo_utils import units

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
    cfg.StrOpt(
        "host",
        max_length=64,
        regex=r"[^\s:]+$",
        sample_default="the name that the system gives itself",
        help="The name of this host among those that share the flows' state; give one where it changes at each start.",
    ),
    cfg.StrOpt(
        "jobboard_url",
        secret=True,
        help="Where runs are posted for conductors on other hosts: redis://HOST:PORT, or zookeeper://, or etcd://.",
    ),
    cfg.StrOpt(
        "jobboard_name",
        default="glance_flows",
        regex=r"[A-Za-z0-9_.-]+$",
        help="Tells boards on one server apart; the same on every host of a cloud.",
    ),
    cfg.IntOpt(
        "jobboard_window",
        default=500,
        min=1,
        help="How many runs wait on the board at once; more wait in the list of runs, so that the board stays quick.",
    ),
    cfg.FloatOpt(
        "jobboard_interval", default=1.0, min=0.05, help="Seconds between two looks of an idle conductor at the board."
    ),
    cfg.BoolOpt("require_identity", default=False, help="Refuse requests that name no identity (C4); for services."),
]
