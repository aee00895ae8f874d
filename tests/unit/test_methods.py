"""Import methods are found by their entry points."""

import sys
import textwrap
from pathlib import Path

import fixtures
from oslo_config import cfg
from stevedore import extension

from glance_flows import errors, methods, opts
from tests import base

SHIPPED = ["copy-image", "glance-direct", "web-download"]


MODULE = """
from oslo_config import cfg
from glance_flows import ImportMethod

class DropBox(ImportMethod):
    options = [cfg.StrOpt("directory", default="/drop", help="Where.")]
    def check(self, request, conf):
        pass
    def tasks(self, request):
        return []

class NoMethod:
    def __init__(self, name):
        pass
"""


def conf(*names: str) -> cfg.ConfigOpts:
    made = cfg.ConfigOpts()
    opts.register(made)
    made([], default_config_files=[], default_config_dirs=[])
    made.set_override("enabled_import_methods", list(names))
    return made


class TestMethods(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        self.useFixture(fixtures.MonkeyPatch("sys.path", list(sys.path)))
        self.addCleanup(self.forget)

    def install(self, *packages: str) -> None:
        """Install distributions whose entry point drop-box names this class of theirs."""
        for number, kind in enumerate(packages):
            site = Path(self.useFixture(fixtures.TempDir()).path)
            module = f"drop_box_{site.name}_{number}"
            (site / f"{module}.py").write_text(textwrap.dedent(MODULE))
            info = site / f"{module}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[{methods.NAMESPACE}]\ndrop-box = {module}:{kind}\n")
            sys.path.insert(0, str(site))
            self.addCleanup(sys.modules.pop, module, None)
        self.forget()

    @staticmethod
    def forget() -> None:
        """Let the installed packages be looked up again."""
        methods.get.cache_clear()
        extension.ExtensionManager.ENTRY_POINT_CACHE.clear()

    def test_the_shipped_ones(self) -> None:
        """C8: those that ship come the same way as anybody's, by the names that the API uses."""
        self.assertLessEqual(set(SHIPPED), set(methods.available()))
        loaded = methods.load(conf(*SHIPPED))
        self.assertEqual(SHIPPED, list(loaded))
        for name, method in loaded.items():
            self.assertEqual(name, method.name)

    def test_anybodys(self) -> None:
        """C8: a method of another package is loaded with its options, in a section of its own."""
        self.install("DropBox")
        made = conf("drop-box", "copy-image")
        self.assertEqual(["drop-box", "copy-image"], list(methods.load(made)))
        self.assertEqual("/drop", made.import_method_drop_box.directory)
        self.assertIn("drop-box", methods.available())

    def test_what_is_not_there(self) -> None:
        """C8, D2: a name that nobody registers is refused with those that there are."""
        missing = self.assertRaises(errors.ConfigurationError, methods.load, conf("by-post"))
        self.assertIn("enabled_import_methods: there is no import method 'by-post'", str(missing))
        for name in SHIPPED:
            self.assertIn(name, str(missing))

    def test_what_cannot_be_loaded(self) -> None:
        """C8, D2: a class that is no method, one that is not there, and a name that two packages register."""
        cases = (
            (("NoMethod",), "no ImportMethod but NoMethod"),
            (("Missing",), "'drop-box' cannot be loaded"),
            (("DropBox", "DropBox"), "several packages"),
        )
        for packages, words in cases:
            with fixtures.MonkeyPatch("sys.path", list(sys.path)):
                self.install(*packages)
                self.assertRaisesRegex(errors.ConfigurationError, words, methods.load, conf("drop-box"))
