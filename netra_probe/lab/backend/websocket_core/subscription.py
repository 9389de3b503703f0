"""EventSubscription: one reader's place in its user's event stream, and the hub that wakes the right readers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from redis.exceptions import RedisError

from netra_probe.lab.backend.websocket_core.event_log import EventLog, LoggedEvent

OUTAGE_SECONDS = 10.0
"""How long the event store may be away before a reader gives up."""
RETRY_SECONDS = 0.1


class EventSubscription:
    """Reads the events of one user in order from a cursor on; each event exactly once."""

    def __init__(self, log: EventLog, user_id: str, connection_id: str, *, cursor: int) -> None:
        self.user_id = user_id
        self.connection_id = connection_id
        self.cursor = cursor
        self._log = log
        self._news = asyncio.Event()
        self._news.set()

    def __repr__(self) -> str:
        return f"EventSubscription({self.connection_id}, cursor={self.cursor})"

    def wake(self) -> None:
        """Say that there may be news."""
        self._news.set()

    async def batches(self) -> AsyncIterator[list[LoggedEvent]]:
        """Lists of new events as they come, for ever; `cursor` is that of the last event handed out."""
        while True:
            await self._news.wait()
            self._news.clear()
            while batch := await self._read():
                yield batch
                self.cursor = batch[-1].cursor

    async def _read(self) -> list[LoggedEvent]:
        """What is new; a store that is away for a moment is waited for."""
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return await self._log.read_after(self.user_id, self.cursor)
            except (RedisError, OSError):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)


class ConnectionHub:
    """Which readers this process has for which user."""

    def __init__(self) -> None:
        self._readers: defaultdict[str, dict[str, EventSubscription]] = defaultdict(dict)

    def add(self, subscription: EventSubscription) -> None:
        """Wake this reader from now on."""
        self._readers[subscription.user_id][subscription.connection_id] = subscription

    def remove(self, subscription: EventSubscription) -> None:
        """Forget this reader; an older one of the same id never takes a newer one with it."""
        readers = self._readers.get(subscription.user_id)
        if readers is None:
            return
        if readers.get(subscription.connection_id) is subscription:
            del readers[subscription.connection_id]
        if not readers:
            del self._readers[subscription.user_id]

    def wake(self, user_id: str) -> None:
        """Wake all readers of one user."""
        for reader in self._readers.get(user_id, {}).values():
            reader.wake()

    def wake_all(self) -> None:
        """Wake everybody: after an interruption nobody knows whom the missed news concerned."""
        for reader in self:
            reader.wake()

    def of_user(self, user_id: str) -> tuple[EventSubscription, ...]:
        """The readers of one user."""
        return tuple(self._readers.get(user_id, {}).values())

    def users(self) -> tuple[str, ...]:
        """Users with at least one reader here."""
        return tuple(self._readers)

    def __iter__(self) -> Iterator[EventSubscription]:
        return itertools.chain.from_iterable([tuple(readers.values()) for readers in self._readers.values()])

    def __len__(self) -> int:
        return sum(len(readers) for readers in self._readers.values())
