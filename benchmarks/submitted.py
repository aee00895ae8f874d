"""Runs in one process, without a board: ``python -m benchmarks.submitted CONF`` prints what they took.

It reads the ids of images from its standard input, as JSON.
"""

import json
import sys
from pathlib import Path

from benchmarks.measure import here
from glance_flows import opts
from glance_flows.flow import FlowSpec
from glance_flows.flows import copy_image, delete_image
from glance_flows.runner import Runner

#: In this order: what was copied is deleted.
FLOWS = ("copy", "delete")
WARM = 2


def spec_of(flow: str, image_id: str) -> FlowSpec:
    """Return the request."""
    return copy_image(image_id, to=["s2"]) if flow == "copy" else delete_image(image_id, delayed=False)


def main() -> int:
    """Submit the runs of each flow at once, wait for them, and print what they took."""
    images: list[str] = json.load(sys.stdin)
    told = {}
    with Runner.from_conf(opts.load([Path(sys.argv[1])])) as runner:

        def work(flow: str, chosen: list[str]) -> None:
            for run in [runner.submit(spec_of(flow, image_id)) for image_id in chosen]:
                run.result()

        for flow in FLOWS:
            work(flow, images[:WARM])
            told[flow] = here(lambda flow=flow: work(flow, images[WARM:])).to_json()  # type: ignore[misc]
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
