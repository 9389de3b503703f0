"""What all stores of one user's rows share: their cache, and how a foreign id differs from a missing one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from redis.exceptions import RedisError

from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import Forbidden, NotFound
from netra_probe.lab.shared.clock import clock

_KEEP = """
if (redis.call('GET', KEYS[2]) or '0') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 0
"""

GENERATION_SECONDS = 3600


class UserCache:
    """Bound to one user; with Redis away it simply loads."""

    def __init__(self, redis: Any, user_id: str, *, seconds: int) -> None:
        self._redis = redis
        self._user_id = user_id
        self._seconds = seconds
        self._keep = redis.register_script(_KEEP)

    def key(self, name: str) -> str:
        """The full key of one cached answer."""
        return f"user:{self._user_id}:cache:{name}"

    async def get_or_load(self, name: str, load: Callable[[], Awaitable[Any]]) -> Any:
        """The copy under `name`, or the result of `load`, which must be plain JSON values."""
        try:
            kept, generation = await self._read(self.key(name), self._generation_key)
        except (RedisError, OSError):
            return await load()
        if kept is not None:
            copy = json.loads(kept)
            if copy["generation"] == (generation or "0"):
                return copy["value"]
        value = await load()
        body = json.dumps({"generation": generation or "0", "value": value}, ensure_ascii=False, default=str)
        try:
            await self._keep(keys=[self.key(name), self._generation_key], args=[generation or "0", body, self._seconds])
        except (RedisError, OSError):
            return value
        return json.loads(body)["value"]

    async def invalidate(self) -> None:
        """Make all copies of this user stale; call it after each committed write."""
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(self._generation_key)
                pipeline.expire(self._generation_key, GENERATION_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError):
            # with Redis away nobody reads copies; those left behind expire within seconds
            return

    async def _read(self, *keys: str) -> list[str | None]:
        values: list[str | None] = await self._redis.mget(*keys)
        return values

    @property
    def _generation_key(self) -> str:
        return f"user:{self._user_id}:cache_generation"


REMEMBERED_REQUESTS = 5
MEMORY_SECONDS = 3600


class ThreadMemory:
    """``user:{uid}:thread_context:{tid}``: a short list, oldest first."""

    def __init__(self, redis: Any, user_id: str) -> None:
        self._redis = redis
        self._user_id = user_id

    def key(self, thread_id: str) -> str:
        """Where the memory of one thread is kept."""
        return f"user:{self._user_id}:thread_context:{thread_id}"

    async def recall(self, thread_id: str) -> list[str]:
        """Earlier requests of this user in this thread, oldest first."""
        remembered: list[str] = await self._redis.lrange(self.key(thread_id), 0, -1)
        return remembered

    async def remember(self, thread_id: str, request: str) -> None:
        """Add a request and let the oldest one go."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(self.key(thread_id), request)
            pipeline.ltrim(self.key(thread_id), -REMEMBERED_REQUESTS, -1)
            pipeline.expire(self.key(thread_id), MEMORY_SECONDS)
            await pipeline.execute()


_EXISTS = {
    "thread": "SELECT 1 FROM threads WHERE id = $1 AND deleted_at IS NULL",
    "message": "SELECT 1 FROM messages m JOIN threads t ON t.id = m.thread_id WHERE m.id = $1 AND t.deleted_at IS NULL",
    "run": "SELECT 1 FROM runs r JOIN threads t ON t.id = r.thread_id WHERE r.id = $1 AND t.deleted_at IS NULL",
    "spend record": "SELECT 1 FROM spend_records WHERE id = $1",
    "export": "SELECT 1 FROM exports WHERE id = $1",
}


class OwnedStore:
    """Bound to one user at creation; no method takes a user id."""

    def __init__(self, database: DatabaseManager, user_id: str, cache: UserCache) -> None:
        self._database = database
        self._user_id = user_id
        self._cache = cache

    async def _one(self, kind: str, identifier: str, statement: str) -> Any:
        """The row that a statement gives for the user (``$1``) and an id (``$2``); refuses where it gives none."""
        async with self._database.get_session(self._user_id) as session:
            row = await session.fetchrow(statement, self._user_id, identifier)
        if row is None:
            await self._refuse(kind, identifier)
        return row

    async def _refuse(self, kind: str, identifier: str) -> NoReturn:
        """Say 403 when somebody else has it and 404 when nobody does."""
        async with self._database.get_service_session() as session:
            exists = await session.fetchval(_EXISTS[kind], identifier)
        if exists:
            raise Forbidden(f"This {kind} belongs to somebody else.")
        raise NotFound(f"There is no such {kind}.")


def epoch_now() -> int:
    """Seconds since 1970, as threads and messages keep them."""
    return int(clock.now())


def decoded(value: Any) -> Any:
    """A json column as Python; asyncpg hands json over as text."""
    return json.loads(value) if isinstance(value, str) else value


def encoded(value: Any) -> str:
    """Python as the text of a json column."""
    return json.dumps(value, ensure_ascii=False, default=str)
