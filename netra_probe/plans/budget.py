"""How much an act may ask of a target: so many requests, for so long, so many in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: Requests in a second to a target that is not on this machine, unless its budget says otherwise.
POLITE = 10.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be spent.

    Arguments:
        requests: at most so many.
        seconds: no request is begun later than this after the first.
        rate: at most so many in a second; ``None`` is 10 elsewhere and as many as there are on this machine.
    """

    requests: int = 3000
    seconds: float = 120.0
    rate: float | None = None


class RequestQuota:
    """What is left of a budget."""

    def __init__(self, probe: Investigation, budget: Budget) -> None:
        self._probe = probe
        self._budget = budget
        self._rate = budget.rate if budget.rate is not None else (None if probe.target.is_local else POLITE)
        self._begin = self._last = time.monotonic()
        self.spent = 0
        #: What was to be paid for when nothing was left.
        self.unpaid = 0
        #: The share of the budget that is kept for what comes later.
        self.reserved = 0.0

    async def acquire(self) -> bool:
        """Take one request out of the budget, waiting for its turn; false when nothing is left."""
        now, share = time.monotonic(), 1.0 - self.reserved
        if self.spent >= self._budget.requests * share or now - self._begin > self._budget.seconds * share:
            self.unpaid += 1
            return False
        if self._rate is not None:
            await self._probe.wire.pause(self._last + 1 / self._rate - now)
        self._last = time.monotonic()
        self.spent += 1
        return True

    def __str__(self) -> str:
        return f"{self._budget.requests} requests or {self._budget.seconds:g} s"

    @property
    def empty(self) -> bool:
        """Whether something was left undone for want of budget."""
        return self.spent >= self._budget.requests or time.monotonic() - self._begin > self._budget.seconds
