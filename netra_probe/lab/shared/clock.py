"""The clock of a service: real time plus ``CLOCK_OFFSET_SECONDS``, which a prober of expiry and skew can set.

    from netra_probe.lab.shared.clock import clock

    clock.now()        # seconds since 1970, as this process sees it

Stores keep their own time: PostgreSQL and Redis know nothing of the offset.
"""

from __future__ import annotations

import time
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
