"""UserCache: short-lived copies of one user's answers in Redis; every key holds the user's id.

``user:{uid}:cache:{name}`` holds an answer, ``user:{uid}:cache_generation`` a number that every write of the user
raises. An answer is kept only if no write came between reading the rows and keeping the copy, so a reader that was
overtaken by a writer cannot bring the old state back.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

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
