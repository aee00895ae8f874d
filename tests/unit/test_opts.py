"""The options: what an operator's files may hold, and what is refused at start."""

import io
import logging
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from oslo_config import cfg, generator

from glance_flows import errors, opts
from glance_flows.services import Services
from tests import base

GLANCE = """
[DEFAULT]
enabled_backends = fast:file, cheap:file
delayed_delete = True
scrub_time = 300
scrub_pool_size = 4
wakeup_time = 60
daemon = True
metadata_encryption_key = 0123456789abcdef
admin_role = boss
send_identity_headers = True
hashing_algorithm = sha256
image_size_cap = 1000
enabled_import_methods = [glance-direct,copy-image]
worker_self_reference_url = http://here:9292
bind_port = 9292
[database]
connection = sqlite:///{root}/glance.sqlite
[glance_store]
default_backend = cheap
[fast]
filesystem_store_datadir = {root}/fast
[cheap]
filesystem_store_datadir = {root}/cheap
weight = 7
[os_glance_staging_store]
filesystem_store_datadir = {root}/staging
[image_import_opts]
image_import_plugins = [no_op]
[import_filtering_opts]
allowed_ports = [8080]
disallowed_hosts = [bad.example.org]
[taskflow_executor]
engine_mode = serial
max_workers = 3
[keystone_authtoken]
password = unknown to us
"""


class TestLoad(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        self.logged = self.useFixture(fixtures.FakeLogger(level=logging.WARNING))

    def load(self, text: str = GLANCE, name: str = "glance-api.conf") -> cfg.ConfigOpts:
        path = self.root / name
        path.write_text(text.replace("{root}", str(self.root)))
        return opts.load([path])

    def changed(self, old: str, new: str) -> cfg.ConfigOpts:
        self.assertIn(old, GLANCE)
        return self.load(GLANCE.replace(old, new))

    def test_a_glances_file(self) -> None:
        """D2: an operator's file is read unchanged, with sections and options that are not ours."""
        conf = self.load()
        self.assertEqual({"fast": "file", "cheap": "file"}, conf.enabled_backends)
        wanted = {
            "delayed_delete": True,
            "scrub_time": 300,
            "scrub_pool_size": 4,
            "wakeup_time": 60,
            "daemon": True,
            "metadata_encryption_key": "0123456789abcdef",
            "admin_role": "boss",
            "hashing_algorithm": "sha256",
            "image_size_cap": 1000,
            "enabled_import_methods": ["glance-direct", "copy-image"],
            "worker_self_reference_url": "http://here:9292",
        }
        self.assertEqual(wanted, {name: conf[name] for name in wanted})
        self.assertEqual(("cheap", "serial"), (conf.glance_store.default_backend, conf.taskflow_executor.engine_mode))
        self.assertEqual(([8080], 3), (conf.import_filtering_opts.allowed_ports, conf.taskflow_executor.max_workers))
        services = Services.from_conf(conf)
        self.addCleanup(services.close)
        self.assertEqual(["cheap", ["fast", "cheap"]], [services.stores.default, services.stores.names])
        self.assertEqual(["glance-direct", "copy-image"], list(services.methods))
        self.assertEqual((7, 0), (services.stores.get("cheap").weight, services.stores.get("fast").weight))
        self.assertEqual(self.root / "staging", services.staging.directory)

    def test_options_that_do_nothing(self) -> None:
        """D2: those of older releases are accepted, and named once in one warning."""
        self.changed("bind_port", "registry_host = there\nowner_is_tenant = True\nbind_port")
        (line,) = self.logged.output.splitlines()
        for name in ("send_identity_headers", "registry_host", "owner_is_tenant"):
            self.assertEqual(1, line.count(name))
        self.assertNotIn("bind_port", line)

    def test_invalid_values(self) -> None:
        """D2: refused at start, with the option's name."""
        wrong = {
            "scrub_time": ("scrub_time = 300", "scrub_time = -1"),
            "scrub_pool_size": ("scrub_pool_size = 4", "scrub_pool_size = 0"),
            "wakeup_time": ("wakeup_time = 60", "wakeup_time = soon"),
            "delayed_delete": ("delayed_delete = True", "delayed_delete = perhaps"),
            "image_size_cap": ("image_size_cap = 1000", "image_size_cap = 0"),
            "metadata_encryption_key": ("= 0123456789abcdef", "= short"),
            "default_backend": ("default_backend = cheap", "default_backend = elsewhere"),
            "default_backend ": ("default_backend = cheap", ""),
            "hashing_algorithm": ("= sha256", "= sha999"),
            "hashing_algorithm ": ("= sha256", "= shake_128"),
            "max_pool_size": ("[database]", "[database]\nmax_pool_size = many"),
            "lease_seconds": (
                "[taskflow_executor]",
                "[glance_flows]\nlease_seconds = 99999999999999\n[taskflow_executor]",
            ),
            "chunk_size": ("[taskflow_executor]", "[glance_flows]\nchunk_size = 99999999999999\n[taskflow_executor]"),
            "engine_mode": ("engine_mode = serial", "engine_mode = magic"),
            "max_workers": ("max_workers = 3", "max_workers = 0"),
            "allowed_ports": ("[8080]", "[http]"),
            "enabled_import_methods": ("[glance-direct,copy-image]", "glance-direct"),
        }
        for name, (old, new) in wrong.items():
            failure = self.assertRaises(errors.ConfigurationError, self.changed, old, new)
            self.assertIn(name.strip(), str(failure))

    def test_stores_and_methods_that_are_not_there(self) -> None:
        """D2: unknown types, reserved names, unknown methods."""
        wrong = {
            "fast has the unknown type 'tape'": ("fast:file", "fast:tape"),
            "os_glance_tasks_store is reserved": ("fast:file", "os_glance_tasks_store:file"),
            "enabled_backends names no store": ("enabled_backends = fast:file, cheap:file", ""),
            "enabled_import_methods: there is no import method 'by-post'": ("glance-direct,copy", "by-post,copy"),
            "[database] connection is not set": ("connection = sqlite:///{root}/glance.sqlite", ""),
            "[cheap]: Value for option weight is not valid": ("weight = 7", "weight = heavy"),
            "[cheap] filesystem_store_file_perm = 999": ("weight = 7", "filesystem_store_file_perm = 999"),
            "[cheap] filesystem_store_datadir: {root}/fast is the folder of [fast] already": (
                "{root}/cheap",
                "{root}/fast",
            ),
            "{root}/fast is the folder of [os_glance_staging_store] already": ("{root}/staging", "{root}/x/../fast"),
            "[database] connection is not the URL": ("sqlite:///{root}/glance.sqlite", "nonsense"),
        }
        for words, (old, new) in wrong.items():
            start = lambda old=old, new=new: Services.from_conf(self.changed(old, new))  # noqa: E731
            failure = self.assertRaises(errors.ConfigurationError, start)
            self.assertIn(words.replace("{root}", str(self.root)), str(failure))

    def test_files_that_cannot_be_read(self) -> None:
        """D2: a missing or malformed file is told by its name."""
        missing = self.root / "missing.conf"
        failure = self.assertRaises(errors.ConfigurationError, opts.load, [missing])
        self.assertIn(str(missing), str(failure))
        failure = self.assertRaises(errors.ConfigurationError, self.load, "no section\n= 1\n", "broken.conf")
        self.assertIn("broken.conf", str(failure))
        (self.root / "binary.conf").write_bytes(b"\xff\xfe")
        failure = self.assertRaises(errors.ConfigurationError, opts.load, [self.root / "binary.conf"])
        self.assertIn("binary.conf is not text", str(failure))

    def test_several_files_and_a_directory(self) -> None:
        """D2: later files win, those of a directory in the order of their names."""
        (self.root / "d").mkdir()
        for name, pool in (("20.conf", 6), ("10.conf", 5)):
            (self.root / "d" / name).write_text(f"[DEFAULT]\nscrub_pool_size = {pool}\n")
        self.load()
        conf = opts.load([self.root / "glance-api.conf"], [self.root / "d"])
        self.assertEqual((6, 300), (conf.scrub_pool_size, conf.scrub_time))

    def test_a_service_that_embeds_it(self) -> None:
        """D2: on a configuration that is not ours the options are registered and checked alike."""
        conf = cfg.ConfigOpts()
        opts.register(conf)
        opts.register(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("enabled_backends", {"s": "file"})
        self.assertRaisesRegex(errors.ConfigurationError, "default_backend", opts.check, conf)


class TestGenerated(base.TestCase):
    def sample(self) -> str:
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf(["--namespace", "glance_flows"], default_config_files=[], default_config_dirs=[])
        out = io.StringIO()
        generator.generate(conf, out)
        return out.getvalue()

    def test_every_option_is_in_the_sample(self) -> None:
        """D4: the sample is made from the options: each is there with its section, its default and its help."""
        sample = self.sample()
        for group, options in opts.GROUPS:
            self.assertIn(f"[{group or 'DEFAULT'}]", sample)
            for opt in options:
                self.assertRegex(sample, rf"(?m)^#{opt.name} =")
                self.assertTrue(opt.help and opt.help.endswith("."), opt.name)
        self.assertIn("[database]", sample)

    def test_what_is_registered_is_listed(self) -> None:
        """D4: there is no option of ours that a generator does not know."""
        conf = cfg.ConfigOpts()
        with mock.patch.object(cfg.ConfigOpts, "register_opts", autospec=True) as register:
            opts.register(conf)
        listed: dict[Any, set[str]] = {group: {opt.name for opt in found} for group, found in opts.list_opts()}
        for call in register.call_args_list:
            group = call.kwargs.get("group")
            names = {opt.name for opt in call.args[1]} - {opt.name for opt in opts.glance.OBSOLETE_OPTS}
            self.assertLessEqual(names, listed[group] if names else set())

    def test_secrets_are_marked(self) -> None:
        """F2: options that hold a key or a password are not printed with the configuration."""
        for group, options in opts.list_opts():
            for opt in options:
                if any(word in opt.name for word in ("key", "connection", "password", "_url")) and group != "database":
                    harmless = opt.name == "worker_self_reference_url"
                    self.assertTrue(opt.secret or harmless, opt.name)
