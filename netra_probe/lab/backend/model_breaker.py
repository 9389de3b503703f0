"""ModelBreaker: stops asking a language model that cannot be reached, says so, and notices its return.

Only failures to reach the service count. An answer, even a failed one, proves that it lives, so no user can switch the
model off for others with requests that make it fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Announce = Callable[[str], None]

FAILURES = 3
OPEN_SECONDS = 1.0


class ModelBreaker:
    """Closed: ask. Open: do not ask. Half open, after a while: let one call try."""

    def __init__(self, announce: Announce, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._announce = announce
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half open``."""
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() - self._opened_at < OPEN_SECONDS else "half open"

    def may_ask(self) -> bool:
        """Whether a call may go out now; in the half open state the caller is the one that tries."""
        state = self.state
        if state == "half open":
            self._opened_at = self._clock()
        return state != "open"

    def reached(self) -> None:
        """The service answered."""
        self._failures = 0
        if self._opened_at is not None:
            self._opened_at = None
            self._announce("service_recovered")

    def unreachable(self) -> None:
        """The service could not be reached."""
        self._failures += 1
        if self._failures == FAILURES:
            self._opened_at = self._clock()
            self._announce("service_degraded")
