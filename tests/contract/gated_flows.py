"""``glance-flows``, a conductor for one, on stores whose deletion number N stands still.

Called as ``python -m tests.contract.gated_flows N REACHED GO …``, as :mod:`tests.contract.gated_scrubber` is.
"""

import pathlib
import sys

from glance_flows.cli import main as flows
from tests.contract import gated_scrubber

if __name__ == "__main__":
    gated_scrubber.gate(int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    sys.exit(flows.main(sys.argv[4:]))
