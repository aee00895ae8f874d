"""``glance-scrubber``, and the most memory it had.

Called as ``python -m tests.contract.peak FILE …``; writes KiB into the file.
"""

import pathlib
import re
import sys

from glance_flows.cli import scrubber

if __name__ == "__main__":
    status = scrubber.main(sys.argv[2:])
    # What getrusage tells counts the process that started this one, too.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
    pathlib.Path(sys.argv[1]).write_text(peak)
    sys.exit(status)
