"""What is in the tree is in the wheel: a package that setup.cfg forgets would vanish on install."""

import configparser
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from tests import base, source

# Each importable package of the distribution and the directory that holds it.
PACKAGES = {
    "glance_flows": source.LIBRARY,
    "glance_flows_plugins": source.PLUGINS / "glance_flows_plugins",
}

# A module beside the packages: it must be imported before any of them.
MODULE = "glance_flows_entry.py"

_BUILT_FROM = (MODULE, "setup.cfg", "setup.py", "pyproject.toml", "README.rst", "LICENSE")


def contents() -> set[str]:
    """Every file of the packages, under the name that it has once installed."""
    return {
        pathlib.PurePath(name, path.relative_to(root)).as_posix()
        for name, root in PACKAGES.items()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build_wheel(scratch: pathlib.Path) -> pathlib.Path:
    """Build the wheel from a copy of the tree, so that nothing an earlier build left takes part."""
    tree = scratch / "tree"
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for root in PACKAGES.values():
        shutil.copytree(root, tree / root.relative_to(source.ROOT), ignore=leave_out)
    for name in _BUILT_FROM:
        shutil.copy(source.ROOT / name, tree / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(scratch)],
        cwd=tree,
        check=True,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    (wheel,) = scratch.glob("*.whl")
    return wheel


class PackagingTest(base.TestCase):
    def test_every_package_is_listed(self) -> None:
        listed = configparser.ConfigParser()
        listed.read(source.ROOT / "setup.cfg")
        found = {
            ".".join([name, *init.parent.relative_to(root).parts])
            for name, root in PACKAGES.items()
            for init in root.rglob("__init__.py")
        }
        self.assertEqual(sorted(found), sorted(listed["options"]["packages"].split()))

    def test_every_directory_with_code_is_a_package(self) -> None:
        for root in PACKAGES.values():
            for path in root.rglob("*.py"):
                self.assertTrue((path.parent / "__init__.py").exists(), f"{path} is in no package")

    def test_the_wheel_holds_the_tree(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = build_wheel(pathlib.Path(scratch))
            with zipfile.ZipFile(wheel) as archive:
                built = {n for n in archive.namelist() if ".dist-info/" not in n}
        self.assertEqual(contents() | {MODULE}, built)

    def test_the_wheel_has_types(self) -> None:
        self.assertLessEqual({f"{name}/py.typed" for name in PACKAGES}, contents())
