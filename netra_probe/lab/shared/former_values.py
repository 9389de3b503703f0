"""FormerValues: for how long a secret that was rotated is still accepted."""

from __future__ import annotations

import time
from collections.abc import Callable


class FormerValues:
    """What settings were before, each with the moment at which it is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, list[tuple[float, str]]] = {}

    def keep(self, name: str, value: str, seconds: float) -> None:
        """Accept a former value for so many seconds."""
        self._kept.setdefault(name, []).append((self._clock() + seconds, value))

    def of(self, name: str) -> tuple[str, ...]:
        """The former values that are still accepted, the youngest first."""
        now = self._clock()
        fresh = [entry for entry in self._kept.get(name, []) if entry[0] > now]
        self._kept[name] = fresh
        return tuple(value for _, value in reversed(fresh))
