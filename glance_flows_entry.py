"""Where the programs begin: Ctrl-C ends them with one line and status 130, even while Python still imports them.

It stands outside of the library, whose import alone takes a fifth of a second.
"""

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 128 + signal.SIGINT


def glance_flows() -> int:
    """Run ``glance-flows`` and return its exit status."""
    return _run("glance-flows", "glance_flows.cli.main")


def glance_scrubber() -> int:
    """Run ``glance-scrubber`` and return its exit status."""
    return _run("glance-scrubber", "glance_flows.cli.scrubber")


def _run(name: str, module: str) -> int:
    """Import the program and run it.

    :param module: which has a function ``main``; its own handlers take over when that runs
    """

    def at_once(signum: int, frame: FrameType | None) -> None:
        # Nothing is under way, and an exception in the middle of an import can be taken for a broken module.
        os.write(2, f"{name}: interrupted before anything was begun.\n".encode())
        os._exit(_INTERRUPTED)

    # Whoever started us with the signal ignored (nohup, a shell's background job) means it.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, at_once)
    try:
        import importlib

        program = importlib.import_module(module)
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)
        return int(program.main())
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted.\n")
        return _INTERRUPTED
