"""ThreadMemory: the last requests a user made in a thread, which agents read as context; in Redis, per user."""

from __future__ import annotations

from typing import Any

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
