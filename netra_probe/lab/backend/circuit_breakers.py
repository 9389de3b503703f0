"""Circuit breakers: who cannot be reached is left alone for a while, and that is announced."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import asyncpg

Announce = Callable[[str], None]


class CircuitBreaker:
    """Counts failures to reach something; a subclass says what counts and how patient it is."""

    failures_to_open: ClassVar[int] = 3
    open_seconds: ClassVar[float] = 1.0

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
        return "open" if self._clock() - self._opened_at < self.open_seconds else "half open"

    def may_ask(self) -> bool:
        """Whether a call may go out now; in the half open state the caller is the one that tries."""
        state = self.state
        if state == "half open":
            self._opened_at = self._clock()
        return state != "open"

    def reached(self) -> None:
        """It answered."""
        self._failures = 0
        if self._opened_at is not None:
            self._opened_at = None
            self._announce("service_recovered")

    def unreachable(self) -> None:
        """It could not be reached."""
        self._failures += 1
        if self._failures == self.failures_to_open:
            self._opened_at = self._clock()
            self._announce("service_degraded")


#: What an attempt to connect raises when PostgreSQL is away or on its way down or up; a time-out is none of them.
AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


class DatabaseBreaker(CircuitBreaker):
    """Opens for a fraction of a second only, so that the first request after a restart finds the database again."""

    failures_to_open = 3
    open_seconds = 0.2


FAILURES = 3
OPEN_SECONDS = 1.0


class ModelBreaker(CircuitBreaker):
    """Runs fail at once while the model is away, and one run a second tries it."""

    failures_to_open = FAILURES
    open_seconds = OPEN_SECONDS
