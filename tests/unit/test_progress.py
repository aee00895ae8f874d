"""How far a run is (C26)."""

import threading

from glance_flows.progress import PartProgress, ProgressBoard
from tests import base

MIB = 1024 * 1024


class TestPart(base.TestCase):
    def test_figures(self) -> None:
        """C26: rate and percent; neither divides by nothing."""
        part = PartProgress("s1", 512 * MIB, 1024 * MIB, "running", 2.0)
        self.assertEqual((256 * MIB, 50), (part.rate, part.percent))
        self.assertEqual("s1: 50% (512 MiB of 1024 MiB)", str(part))
        self.assertEqual(
            (0.0, None, "s1: 0 MiB"), (PartProgress("s1").rate, PartProgress("s1").percent, str(PartProgress("s1")))
        )
        self.assertEqual(100, PartProgress("s1", 0, 0).percent)
        self.assertEqual(100, PartProgress("s1", 11, 10).percent)


class TestBoard(base.TestCase):
    def test_parts(self) -> None:
        """C26: each part counts for itself, from its beginning to its end."""
        board = ProgressBoard()
        board.advance("nobody", 5)
        board.begin("s1", 10)
        board.begin("s2", None)
        board.advance("s1", 4)
        board.advance("s1", 6)
        board.advance("s2", 3)
        board.finish("s1", "done")
        board.finish("s3", "failed")
        found = {part.part: (part.done, part.total, part.state) for part in board.parts}
        self.assertEqual({"s1": (10, 10, "done"), "s2": (3, None, "running"), "s3": (0, None, "failed")}, found)
        self.assertEqual("s2: 0 MiB", board.message())

    def test_a_part_that_begins_again(self) -> None:
        """C26: an upload that is tried once more starts at nothing."""
        board = ProgressBoard()
        for _ in range(2):
            board.begin("s1", 10)
            board.advance("s1", 7)
        self.assertEqual(7, board.parts[0].done)

    def test_watching(self) -> None:
        """C26: a watcher sees what there is, is told of news, sees the last of it, and ends."""
        board = ProgressBoard(interval=0)
        board.begin("s1", 3)
        seen: list[int] = []
        first = threading.Event()

        def watch() -> None:
            for snapshot in board.watch():
                seen.append(snapshot[0].done)
                first.set()

        thread = threading.Thread(target=watch)
        thread.start()
        self.assertTrue(first.wait(30))
        for _ in range(3):
            board.advance("s1", 1)
        board.close()
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual((0, 3), (seen[0], seen[-1]))
        self.assertEqual(seen, sorted(seen))

    def test_a_watcher_who_comes_late(self) -> None:
        """C26: after the end there is one snapshot."""
        board = ProgressBoard()
        board.begin("s1", 3)
        board.finish("s1", "done")
        board.close()
        self.assertEqual(1, len(list(board.watch())))

    def test_chunks_wake_nobody_too_often(self) -> None:
        """C26: between two snapshots of a watcher lies the interval, however many chunks there are."""
        board = ProgressBoard(interval=3600)
        board.begin("s1", None)
        version = board._version
        for _ in range(1000):
            board.advance("s1", 1)
        self.assertEqual((version, 1000), (board._version, board.parts[0].done))
