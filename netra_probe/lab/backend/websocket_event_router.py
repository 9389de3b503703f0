"""WebSocketEventRouter: which connections get an event, on whichever backend they are.

    await router.register_connection(user_id, connection_id)
    await router.route_event(user_id, connection_id, event)     # to every connection of that user, and of nobody else

`connection_id` names the connection that asked for the work; it is checked against its user, never used to choose
somebody else's. Who is connected where is kept in ``user_sessions:{uid}`` (connection → backend).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from netra_probe.lab.backend.errors import DependencyDown, Forbidden
from netra_probe.lab.backend.settings import Limits

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


_APPEND = """
if redis.call('EXISTS', KEYS[2]) == 0 then
  local now = redis.call('TIME')
  redis.call('SET', KEYS[2], now[1] * 10000 + math.floor(now[2] / 100))
end
local cursor = redis.call('INCR', KEYS[2])
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  redis.call('SET', KEYS[4], string.match(oldest, '^%d+'))
end
redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[2], cursor .. '-0', 'event', ARGV[1])
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
redis.call('PUBLISH', ARGV[4], cursor)
return cursor
"""

_MARK_DELIVERED = """
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > before then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return 0
"""

LIVE_PATTERN = "user:*:live"


def live_channel(user_id: str) -> str:
    """The channel that wakes the connections of `user_id`."""
    return f"user:{user_id}:live"


def user_of_channel(channel: str) -> str:
    """The inverse of `live_channel`."""
    return channel.removeprefix("user:").removesuffix(":live")


@dataclass(frozen=True, kw_only=True)
class LoggedEvent:
    """An event and its place in its user's stream."""

    cursor: int
    event: Mapping[str, Any]


class EventLog:
    """Append to, and read on in, the event stream of one user at a time."""

    def __init__(self, redis: Any, *, limits: Limits) -> None:
        self._redis = redis
        self._limits = limits
        self._append = redis.register_script(_APPEND)
        self._mark = redis.register_script(_MARK_DELIVERED)

    def place_of(self, user_id: str) -> str:
        """How the keys of one user's log begin."""
        return f"user:{user_id}"

    async def append(self, user_id: str, event: Mapping[str, Any]) -> int:
        """Number, keep and announce one event; returns its cursor."""
        return await self.append_at(self.place_of(user_id), user_id, event)

    async def append_at(self, place: str, user_id: str, event: Mapping[str, Any]) -> int:
        """Append to the log whose keys begin with `place`, and wake the user's readers."""
        keys = [f"{place}:{part}" for part in ("events", "cursor", "delivered", "dropped")]
        body = json.dumps(event, ensure_ascii=False, default=str)
        cursor = await self._append(
            keys=keys,
            args=[body, self._limits.buffered_events, self._limits.buffer_seconds, live_channel(user_id)],
        )
        return int(cursor)

    async def read_after(self, user_id: str, cursor: int, *, count: int = 200) -> list[LoggedEvent]:
        """Up to `count` events with a cursor above `cursor`, in order."""
        entries = await self._redis.xrange(f"{self.place_of(user_id)}:events", min=f"({cursor}-0", count=count)
        return [
            LoggedEvent(cursor=int(entry.partition("-")[0]), event=json.loads(fields["event"]))
            for entry, fields in entries
        ]

    async def cursor_of(self, user_id: str, run_id: str, seq: int) -> int | None:
        """The cursor of event `seq` of one of the user's runs; None when it is not kept."""
        async for entry in self._of_run(user_id, run_id):
            if entry.event.get("seq") == seq:
                return entry.cursor
        return None

    async def last_seq(self, user_id: str, run_id: str) -> int:
        """The number of the newest kept event of one of the user's runs, 0 when there is none."""
        return max([int(entry.event.get("seq") or 0) async for entry in self._of_run(user_id, run_id)], default=0)

    async def _of_run(self, user_id: str, run_id: str) -> AsyncIterator[LoggedEvent]:
        cursor = 0
        while batch := await self.read_after(user_id, cursor):
            for entry in batch:
                if entry.event.get("run_id") == run_id:
                    yield entry
            cursor = batch[-1].cursor

    async def tail(self, user_id: str) -> int:
        """The cursor of the newest event, 0 when there is none."""
        return int(await self._redis.get(f"{self.place_of(user_id)}:cursor") or 0)

    async def delivered(self, user_id: str) -> int:
        """The highest cursor that some connection of the user was sent."""
        return int(await self._redis.get(f"{self.place_of(user_id)}:delivered") or 0)

    async def dropped(self, user_id: str) -> int:
        """The highest cursor that is no longer kept because newer events needed its place, 0 when there is none."""
        return int(await self._redis.get(f"{self.place_of(user_id)}:dropped") or 0)

    async def mark_delivered(self, user_id: str, cursor: int) -> None:
        """Remember that everything up to `cursor` was sent to the user."""
        await self._mark(keys=[f"{self.place_of(user_id)}:delivered"], args=[cursor, self._limits.buffer_seconds])


log = logging.getLogger(__name__)

RECONNECT_SECONDS = 0.2


class WebSocketEventRouter:
    """Puts events into their user's stream and wakes that user's connections in this process."""

    def __init__(self, *, redis: Any, log: EventLog, hub: ConnectionHub, backend: str) -> None:
        self._redis = redis
        self._log = log
        self._hub = hub
        self._backend = backend
        self._owners: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._listening = False
        self._interruptions = 0

    # Lifecycle

    async def start(self) -> None:
        """Begin to listen for events, once the subscription is confirmed; drop what a former life left behind."""
        await self._forget_former_life()
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(ready), name="event-router")
        await asyncio.wait_for(ready.wait(), timeout=5.0)

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # Connections

    async def register_connection(self, user_id: str, connection_id: str) -> None:
        """Note that `connection_id` belongs to `user_id`."""
        self._owners[connection_id] = user_id
        await self._redis.hset(f"user_sessions:{user_id}", connection_id, self._backend)

    async def unregister_connection(self, user_id: str, connection_id: str) -> None:
        """Forget a connection."""
        self._owners.pop(connection_id, None)
        await self._redis.hdel(f"user_sessions:{user_id}", connection_id)

    async def connections_of(self, user_id: str) -> dict[str, str]:
        """Connection → backend, over all backends."""
        return dict(await self._redis.hgetall(f"user_sessions:{user_id}"))

    # Events

    async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
        """Deliver one event to all connections of `user_id`, now or when they come back; returns its cursor.

        Raises:
            Forbidden: `connection_id` belongs to another user.
            DependencyDown: the event cannot be kept.
        """
        if connection_id is not None and self._owners.get(connection_id, user_id) != user_id:
            raise Forbidden("An event was addressed to a connection of another user and was not sent.")
        try:
            return await self._log.append(user_id, event)
        except (RedisError, OSError) as error:
            raise DependencyDown("Events cannot be delivered at the moment; try again shortly.") from error

    # Listening

    def listener(self) -> dict[str, Any]:
        """For operators: whether news of events is heard now, and how often that was interrupted."""
        return {"listening": self._listening, "interruptions": self._interruptions}

    async def _listen(self, ready: asyncio.Event) -> None:
        while True:
            try:
                await self._listen_once(ready)
            except (RedisError, OSError) as error:
                self._interruptions += 1
                log.warning("event router lost Redis (%s); trying again", type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self, ready: asyncio.Event) -> None:
        """Wake whom it concerns until the connection is lost."""
        try:
            async with self._redis.pubsub() as channel:
                await channel.psubscribe(LIVE_PATTERN)
                async for message in channel.listen():
                    if message["type"] == "psubscribe":
                        self._listening = True
                        ready.set()
                        self._hub.wake_all()
                    elif message["type"] == "pmessage":
                        self._hub.wake(user_of_channel(message["channel"]))
        finally:
            self._listening = False

    async def _forget_former_life(self) -> None:
        async for key in self._redis.scan_iter(match="user_sessions:*", count=500):
            gone = [cid for cid, backend in (await self._redis.hgetall(key)).items() if backend == self._backend]
            if gone:
                await self._redis.hdel(key, *gone)
