"""Flows as pictures."""

from glance_flows import drawing
from glance_flows.flow import parallel, series
from glance_flows.task import Task
from tests import base


class Step(Task):
    """Does nothing."""

    def execute(self) -> None:
        """Do nothing."""


class DrawingTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        rows = parallel("rows", series("row", Step("b"), Step("c")), Step("d"))
        self.flow = series("whole", Step("a"), rows, Step("e"))

    def test_edges(self) -> None:
        names = [(start[-1], end[-1]) for start, end in drawing.edges(self.flow)]
        self.assertEqual([("b", "c"), ("a", "b"), ("a", "d"), ("c", "e"), ("d", "e")], names)

    def test_dot(self) -> None:
        text = drawing.dot(self.flow, {"step:a": "success"})
        self.assertIn('"step:a" [label="step:a\\nsuccess", fillcolor="#b7e4c7"];', text)
        self.assertIn('"step:e" [label="step:e\\npending", fillcolor="#ffffff"];', text)
        self.assertIn('"step:b" -> "step:c";', text)

    def test_mermaid(self) -> None:
        text = drawing.mermaid(self.flow, {"step:a": "success"})
        self.assertTrue(text.startswith("flowchart TD\n"))
        self.assertIn('t0["step:a<br/>success"]\n  style t0 fill:#b7e4c7', text)
        self.assertIn("t1 --> t2", text)
