"""Loading what a program consists of: quickly, for most of what is made then stays until the program ends."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import modules and make services in this block without looking for garbage among them, neither now nor later.

    The collector would go through all that is loaded so far again and again, and once more at the end of the program:
    with the libraries of a scrubber that takes a third of its start. Garbage made in the block stays, so it is not for
    anything that happens more than once.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
