"""An operator's ``glance-api.conf`` is read as it is, whatever else is in it (D2)."""

import configparser
import os
import re
import subprocess
from collections.abc import Mapping

import fixtures

from glance_flows import Runner, opts
from glance_flows.flows import copy_image, delete_image, import_image
from tests.interop.base import GlanceTestCase, glance_python
from tests.interop.beside import BesideGlanceTestCase
from tests.interop.glance_server import Override

DATA = os.urandom(300_017)
NAMESPACES = ("glance.api", "glance.store", "oslo.db", "oslo.log", "oslo.messaging", "oslo.policy", "oslo.concurrency")
GENERATE = "import sys; from oslo_config.generator import main; main(sys.argv[1:])"
#: What a deployment of many years has gathered.
OBSOLETE = {
    "send_identity_headers": True,
    "owner_is_tenant": True,
    "registry_host": "10.0.0.5",
    "registry_port": 9191,
    "data_api": "glance.db.sqlalchemy.api",
    "scrubber_datadir": "/var/lib/glance/scrubber",
    "node_staging_uri": "file:///var/lib/glance/staging",
}
OTHERS: dict[str, Override] = {
    "workers": 8,
    "bind_host": "0.0.0.0",
    "bind_port": 9292,
    "backlog": 4096,
    "tcp_keepidle": 600,
    "transport_url": "rabbit://glance:s3cr$t%40@10.0.0.5:5672//",
    "image_cache_max_size": 10737418240,
    "enable_v2_api": True,
    "default_log_levels": "amqp=WARN,sqlalchemy=WARN",
    "use_syslog": False,
    "allow_anonymous_access": False,
    "user_storage_quota": "10TB",
    "image_property_quota": 256,
    "scrub_time": 86400,
    "scrub_pool_size": 4,
    "wakeup_time": 600,
    "cors": {"allowed_origin": "https://horizon.example.org", "allow_methods": "GET,PUT,POST,DELETE,PATCH"},
    "keystone_authtoken": {
        "www_authenticate_uri": "https://keystone.example.org:5000",
        "auth_type": "password",
        "username": "glance",
        "password": "p%(a)s$$w;ord#1",
        "memcached_servers": "10.0.0.5:11211,10.0.0.6:11211",
    },
    "oslo_messaging_notifications": {"driver": "noop", "topics": "notifications"},
    "oslo_policy": {"enforce_scope": True, "enforce_new_defaults": True},
    "profiler": {"enabled": False, "hmac_keys": "SECRET_KEY"},
    "database": {"max_retries": -1, "connection_recycle_time": 280, "max_pool_size": 7, "max_overflow": 9},
    "glance_store": {"default_swift_reference": "ref1", "swift_store_create_container_on_put": True},
    "ref1": {"auth_address": "https://keystone.example.org:5000/v3", "user": "service:glance", "key": "x"},
    "task": {"task_time_to_live": 24, "task_executor": "taskflow", "work_dir": "/var/lib/glance/work"},
    "taskflow_executor": {"engine_mode": "serial", "max_workers": 3, "conversion_format": "raw"},
    "image_import_opts": {"image_import_plugins": "[no_op]"},
    "image_format": {
        "disk_formats": "raw,qcow2,iso",
        "container_formats": "bare,ovf",
        "require_image_format_match": True,
    },
    "import_filtering_opts": {"allowed_schemes": "[https]", "disallowed_hosts": "[169.254.169.254]"},
    "a section that nobody knows": {"some.option": "[1, 2, {3: 4}]"},
}


class TestOperatorOnSQLite(BesideGlanceTestCase):
    backend = "sqlite"

    def configure(self) -> Mapping[str, Override]:
        # The fixture writes where the database and the stores are; a section given here adds to its own.
        return {**OTHERS, **OBSOLETE}

    def test_we_work_by_it_and_leave_it_as_it_is(self) -> None:
        before = self.server.config_file.read_bytes()
        image_id = self.glance.create_image()["id"]
        self.glance.stage(image_id, DATA)
        with Runner.from_conf(opts.load([self.server.config_file])) as runner:
            runner.run(import_image(image_id, method="glance-direct"))
            runner.run(copy_image(image_id, all_stores=True))
            self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)
            runner.run(delete_image(image_id))
        self.assert_nothing_left(image_id)
        self.assertEqual(before, self.server.config_file.read_bytes())

    def test_what_it_says_is_what_we_do(self) -> None:
        conf = opts.load([self.server.config_file])
        self.assertEqual((86400, 4, 600), (conf.scrub_time, conf.scrub_pool_size, conf.wakeup_time))
        self.assertEqual(("serial", 3), (conf.taskflow_executor.engine_mode, conf.taskflow_executor.max_workers))
        self.assertEqual(["https"], conf.import_filtering_opts.allowed_schemes)
        self.assertEqual(["169.254.169.254"], conf.import_filtering_opts.disallowed_hosts)
        self.assertEqual((7, 9), (conf.database.max_pool_size, conf.database.max_overflow))
        self.assertEqual(self.database.url, conf.database.connection)
        self.assertEqual(24, conf.task.task_time_to_live)
        self.assertEqual({"s1": "file", "s2": "file", "s3": "file"}, conf.enabled_backends)

    def test_obsolete_options_are_named_once(self) -> None:
        log = self.useFixture(fixtures.FakeLogger("glance_flows"))
        Runner.from_conf(opts.load([self.server.config_file])).close()
        for name in OBSOLETE:
            self.assertEqual(1, len(re.findall(rf"\b{name}\b", log.output)), name)


class TestOperatorOnPostgreSQL(TestOperatorOnSQLite):
    backend = "postgresql"


class TestOperatorOnMariaDB(TestOperatorOnSQLite):
    backend = "mysql"


class TestSample(GlanceTestCase):
    """The configuration that Glance itself generates, every option in it written out."""

    def test_every_option_of_glance_at_its_default(self) -> None:
        self.start_glance(serve=False)
        sample = self.root / "every-option.conf"
        sample.write_text(self._sample())
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read(sample)
        self.assertGreater(sum(len(parser[section]) for section in parser.sections()), 100)
        conf = opts.load([sample, self.server.config_file])
        self.assertEqual("s1", conf.glance_store.default_backend)
        with Runner.from_conf(conf) as runner:
            self.assertEqual(["s1", "s2", "s3"], runner.services.stores.names)

    def _sample(self) -> str:
        """Return the sample with the comment signs of its options removed, but of those without a default."""
        wanted = [word for name in NAMESPACES for word in ("--namespace", name)]
        done = subprocess.run([str(glance_python()), "-c", GENERATE, *wanted], capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        lines = [line for line in done.stdout.splitlines() if "<None>" not in line]
        return "\n".join(re.sub(r"^#(?=[a-z_]+ = )", "", line) for line in lines)
