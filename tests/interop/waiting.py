"""The one place where these tests wait: for a condition, never for a length of time."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_until(
    condition: Callable[[], Answer],
    timeout: float,
    *,
    what: str = "the condition",
    interval: float = 0.05,
) -> Answer:
    """Call ``condition`` until its answer is true, and return that answer.

    :param condition: asked at once, then every ``interval`` seconds; what it raises is raised here
    :param timeout: seconds after which we give up
    :param what: named in the error, so that a red test says what never happened
    :raises TimeoutError: the last answer was still false after ``timeout`` seconds
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what} did not come true in {timeout} s; last answer: {answer!r}")
        time.sleep(interval)
