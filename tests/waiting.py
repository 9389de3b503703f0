"""Waiting for something to become true, with a time-out that has a name."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: Seconds that a busy machine may take for something that is due at once.
DUE_SECONDS = 60.0


def wait_until(look: Callable[[], T], *, what: str, seconds: float = DUE_SECONDS) -> T:
    """Look until what is seen is true; returns it. Fails with ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return seen
