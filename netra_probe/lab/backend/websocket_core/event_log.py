"""EventLog: one bounded, numbered stream of events per user, in Redis, readable from both backends.

Keys, each with its user: ``user:{uid}:events`` (stream, id = cursor), ``user:{uid}:cursor`` (last number given out),
``user:{uid}:delivered`` (highest number that any connection of the user was sent), ``user:{uid}:dropped`` (highest
number that had to make room for newer events). Channel: ``user:{uid}:live``.

Numbers begin with the time of the stream's first event, in tenths of milliseconds (14 digits, which Lua prints
exactly), so they go on rising when Redis comes back empty, and nobody skips what is new.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from netra_probe.lab.backend.settings import Limits

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
