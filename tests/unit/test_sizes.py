"""Files, functions and classes stay small enough to be read in one go."""

import ast
import pathlib
import tempfile
from collections.abc import Iterator

from tests import base, source

FILE_LINES = 350
FUNCTION_LINES = 40
PUBLIC_METHODS = 12

Function = ast.FunctionDef | ast.AsyncFunctionDef


def oversized(path: pathlib.Path) -> Iterator[str]:
    """What in one file is larger than it may be, each with where and by how much."""
    text = path.read_text()
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{path.name}: {lines} lines, {FILE_LINES} at most"
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield (f"{path.name}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} at most")
        elif isinstance(node, ast.ClassDef):
            # A property and its setter share one name, as the overloads of a method do.
            public = {n.name for n in node.body if isinstance(n, Function) and not n.name.startswith("_")}
            if len(public) > PUBLIC_METHODS:
                yield (
                    f"{path.name}:{node.lineno}: class {node.name} has {len(public)} public "
                    f"methods, {PUBLIC_METHODS} at most"
                )


class SizesTest(base.TestCase):
    def test_nothing_is_oversized(self) -> None:
        # A migration is a record of what once was and is never edited into shape.
        versions = source.LIBRARY / "db" / "migrations" / "versions"
        checked = [path for path in source.files(source.LIBRARY, source.PLUGINS) if versions not in path.parents]
        checked.append(source.ROOT / "glance_flows_entry.py")
        self.assertIn(source.LIBRARY / "__init__.py", checked)
        self.assertEqual([], [finding for path in checked for finding in oversized(path)])


class CheckerTest(base.TestCase):
    def findings(self, text: str) -> list[str]:
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch, "sample.py")
            path.write_text(text)
            return list(oversized(path))

    def test_file(self) -> None:
        self.assertEqual([], self.findings("x = 1\n" * FILE_LINES))
        self.assertEqual(["sample.py: 351 lines, 350 at most"], self.findings("x = 1\n" * (FILE_LINES + 1)))

    def test_function(self) -> None:
        def function(lines: int) -> str:
            return "class A:\n  async def f(self):\n" + "    pass\n" * (lines - 1)

        self.assertEqual([], self.findings(function(FUNCTION_LINES)))
        self.assertEqual(["sample.py:2: f has 41 lines, 40 at most"], self.findings(function(FUNCTION_LINES + 1)))

    def test_class(self) -> None:
        def methods(count: int) -> str:
            public = "".join(f"  def m{i}(self): ...\n" for i in range(count))
            return f"class A:\n{public}  def _private(self): ...\n  def __len__(self): ...\n"

        self.assertEqual([], self.findings(methods(PUBLIC_METHODS)))
        self.assertEqual(
            ["sample.py:1: class A has 13 public methods, 12 at most"],
            self.findings(methods(PUBLIC_METHODS + 1)),
        )
