"""A point in the code where requests wait for each other, so that a race happens instead of being waited for.

On an idle machine requests that were sent at once meet anyway; on a busy one the second may come when the first is
done, and a defect that needs both would not show.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


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
