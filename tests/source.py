"""The source tree as data: which modules there are and what each imports."""

import ast
import dataclasses
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "glance_flows"
PLUGINS = ROOT / "plugins"


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` is module `a.b`, name `c`; `import a.b` has no name."""

    module: str
    name: str | None
    line: int


@dataclasses.dataclass(frozen=True)
class Module:
    """A parsed file, under the dotted name it is imported by."""

    name: str
    path: pathlib.Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that a relative import in this file starts from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def imports(self) -> Iterator[Import]:
        """Every import of the file: at module level, in functions, under TYPE_CHECKING."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, None, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Import(self._absolute(node), alias.name, node.lineno)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parents = self.package.split(".")
        base = parents[: len(parents) - node.level + 1]
        return ".".join([*base, node.module] if node.module else base)


def files(*roots: pathlib.Path) -> Iterator[pathlib.Path]:
    """Every Python file under the roots, but for what a build left there."""
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root).parts
            if not any(p in {"build", "dist"} or p.startswith(".") for p in inside):
                yield path


def modules(package: pathlib.Path) -> list[Module]:
    """The modules of one package directory, named from the directory's own name."""
    found = []
    for path in files(package):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found.append(Module(".".join(parts), path, ast.parse(path.read_text(), str(path))))
    return found
