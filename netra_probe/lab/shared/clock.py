"""The clock of a service: real time plus ``CLOCK_OFFSET_SECONDS``, which a prober of expiry and skew can set.

    from netra_probe.lab.shared.clock import clock

    clock.now()        # seconds since 1970, as this process sees it

Stores keep their own time: PostgreSQL and Redis know nothing of the offset.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from datetime import UTC, datetime


class Clock:
    """What time it is here."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.offset

    def utc(self) -> datetime:
        """The same as a date."""
        return datetime.fromtimestamp(self.now(), UTC)


clock = Clock()
"""The one of this process."""


class Meeting:
    """Two who come with the same key go on together; who comes alone goes on alone after `seconds`."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Hashable, asyncio.Future[None]] = {}

    def expects(self, key: Hashable) -> bool:
        """Whether somebody waits under this key."""
        return key in self._waiting

    async def join(self, key: Hashable) -> bool:
        """Wait for another one; whether one came."""
        other = self._waiting.pop(key, None)
        if other is not None and not other.done():
            other.set_result(None)
            return True
        mine = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._seconds):
                await mine
        except TimeoutError:
            return False
        finally:
            if self._waiting.get(key) is mine:
                del self._waiting[key]
        return True
