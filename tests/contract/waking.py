"""A daemon that wakes up a number of times, and what memory it had early and at its end.

Called as ``python -m tests.contract.waking CONFIGURATION PASSES``; prints a JSON object.
"""

import json
import sys
import threading
from typing import Any

import psutil

from glance_flows import opts
from glance_flows.runner import Runner
from glance_flows.scrubber import Daemon, Scrubber


def main(path: str, passes: int) -> None:
    """Wake up ``passes`` times."""
    resident: dict[int, int] = {}
    running: set[int] = set()
    most = 0

    class Counted(Scrubber):
        """Counts itself while it is at work."""

        def run_pass(self) -> Any:
            nonlocal most
            running.add(threading.get_ident())
            most = max(most, len(running))
            try:
                return super().run_pass()
            finally:
                running.discard(threading.get_ident())

    with Runner.from_conf(opts.load([path])) as runner:

        def make() -> Scrubber:
            if daemon.passes in (passes // 10, passes):
                resident[daemon.passes] = psutil.Process().memory_info().rss
            if daemon.passes == passes:
                daemon.stop()
            return Counted(runner)

        daemon = Daemon(make, lambda: 0.0)
        daemon.run()
    first, last = resident.values()
    print(json.dumps({"first": first, "last": last, "passes": daemon.passes, "most": most}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
