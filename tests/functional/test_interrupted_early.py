"""Ctrl-C while a program is still being imported: one line, status 130, and no traceback."""

import pathlib
import shutil
import subprocess
import sys
from typing import Any

from tests.functional import cli

#: Runs the installed program, and sends it the signal when it comes to import a certain module.
_INTERRUPTING = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.{before})
moment, script = sys.argv[1:3]

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

finder = Finder()
sys.meta_path.insert(0, finder)
sys.argv = [script, *sys.argv[3:]]
try:
    runpy.run_path(script, run_name="__main__")
finally:
    if finder in sys.meta_path:
        os.write(2, b"the moment never came")
"""

#: From the first that the entry point imports on.
MOMENTS = {
    "glance-flows": ("glance_flows", "taskflow", "networkx", "glance_flows.cli.main", "cliff"),
    "glance-scrubber": ("glance_flows", "glance_flows.cli.scrubber", "oslo_log"),
}
#: In the middle of the programs, when one has handlers of its own and the other has not.
BEGUN = {
    "glance-flows": "glance-flows: interrupted: nothing was under way.\n",
    "glance-scrubber": "glance-scrubber: interrupted.\n",
}


class InterruptedEarlyTest(cli.CommandTestCase):
    def interrupted(self, program: str, moment: str, before: str = "default_int_handler") -> Any:
        script = shutil.which(program, path=str(pathlib.Path(sys.executable).parent))
        if script is None:
            self.skipTest("the programs are not installed")
        text = _INTERRUPTING.format(before=before)
        words = [sys.executable, "-c", text, moment, str(script), "--config-file", str(self.config)]
        more = ["image", "list", "-f", "json"] if program == "glance-flows" else ["--dry-run", "-f", "json"]
        return subprocess.run(
            [*words, *more], capture_output=True, text=True, env=self.environment(), timeout=cli.SECONDS
        )

    def test_while_it_is_imported(self) -> None:
        for program, moments in MOMENTS.items():
            for moment in moments:
                with self.subTest(program=program, moment=moment):
                    done = self.interrupted(program, moment)
                    told = f"{program}: interrupted before anything was begun.\n"
                    self.assertEqual((130, "", told), (done.returncode, done.stdout, done.stderr))

    def test_when_it_has_begun(self) -> None:
        for program, told in BEGUN.items():
            done = self.interrupted(program, "sqlalchemy.dialects.sqlite")
            self.assertEqual((130, "", told), (done.returncode, done.stdout, done.stderr[-len(told) :]))
            self.assertNotIn("Traceback", done.stderr)

    def test_ignored(self) -> None:
        """Whoever had it ignored, as nohup does for other signals, means it."""
        for program in MOMENTS:
            done = self.interrupted(program, "taskflow", before="SIG_IGN")
            self.assertEqual((0, False), (done.returncode, "interrupted" in done.stderr), done.stderr)
            self.assertNotIn("never came", done.stderr)
