"""How fast, and how much altogether: the caps of a target's parameters, kept by everything that goes to it.

The notebooks of one run share their caps through a small file in the run directory, so that running two of them side
by side asks no more of a target than running them one after the other.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from netra_probe.target.environment import locked_file

#: Where ``netra-probe run`` wants histories: a run directory, given to the kernel in its environment.
RUN_VARIABLE = "NETRA_PROBE_RUN"
#: Which part of the caps a kernel may use, where those of one run share no file: a ``Share`` as text.
SHARE_VARIABLE = "NETRA_PROBE_SHARE"


@dataclass(frozen=True, kw_only=True)
class Share:
    """One of so many equal parts: of the rate for those that work at a time, of the total for all that come.

    >>> Share.read(str(Share(rate=4, most=18)))
    Share(rate=4, most=18)
    """

    rate: int = 1
    most: int = 1

    def __str__(self) -> str:
        return f"{self.rate}/{self.most}"

    @staticmethod
    def read(text: str) -> Share:
        rate, _, most = text.partition("/")
        return Share(rate=int(rate), most=int(most)) if rate.isdigit() and most.isdigit() else Share()

    @staticmethod
    def of_this_kernel() -> Share:
        """The share that the kernel's environment names; everything where it names none."""
        return Share.read(os.environ.get(SHARE_VARIABLE, ""))


def shared_file() -> Path | None:
    """The file through which the kernels of one run keep one pace; ``None`` for an investigation by itself."""
    run = os.environ.get(RUN_VARIABLE)
    return Path(run) / "logs" / "pace.json" if run else None


class _Spent(msgspec.Struct):
    """What all who share a file have asked for, and when the next request may go (monotonic seconds)."""

    requests: int = 0
    next: float = 0.0


class RateLimiter:
    """Gives out turns.

    Arguments:
        rate: turns in a second at most; ``None`` for no limit.
        most: turns altogether at most; ``None`` for no limit.
        shared: the file through which several processes keep one pace.

    Where the kernel's environment names a share, both are divided by it.
    """

    def __init__(self, *, rate: float | None = None, most: int | None = None, shared: Path | None = None) -> None:
        share = Share.of_this_kernel()
        self.rate = rate / share.rate if rate is not None else None
        self.most = max(1, most // share.most) if most is not None else None
        self._spent = _Spent()
        self._shared = shared if rate is not None or most is not None else None
        self._asking = asyncio.Lock()

    async def turn(self, *, beyond: bool = False) -> bool:
        """Wait for one's turn; false when the total is used up. ``beyond`` goes on nevertheless: cleaning up must."""
        if self.rate is None and self.most is None:
            return True
        if self._shared is None:
            wait = self._take(self._spent, beyond)
        else:
            async with self._asking:  # one thread at a time: in the order in which they came
                wait = await asyncio.to_thread(self._take_shared, self._shared, beyond)
        if wait is not None and wait > 0:
            await asyncio.sleep(wait)
        return wait is not None

    def _take(self, spent: _Spent, beyond: bool) -> float | None:
        """Seconds until the turn; ``None`` when the total is used up."""
        if self.most is not None and spent.requests >= self.most and not beyond:
            return None
        spent.requests += 1
        if self.rate is None:
            return 0.0
        now = time.monotonic()
        # A file that an earlier boot has left may hold any time: nobody waits longer than the queue is.
        begin = spent.next if now <= spent.next <= now + 600 else now
        spent.next = begin + 1 / self.rate
        return begin - now

    def _take_shared(self, path: Path, beyond: bool) -> float | None:
        """The same by the file that several processes share; waits for its lock."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked_file(path) as file:
            text = file.read()
            spent = msgspec.json.decode(text, type=_Spent) if text else _Spent()
            wait = self._take(spent, beyond)
            file.seek(0)
            file.truncate()
            file.write(msgspec.json.encode(spent))
        return wait
