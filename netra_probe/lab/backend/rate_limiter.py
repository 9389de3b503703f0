"""RateLimiter: each user's own quota, counted in Redis for both backends together.

Keys: ``rate_limit:{uid}:{endpoint}``. A window begins with a user's first request and ends by itself.
"""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError

from netra_probe.lab.backend.errors import RateLimited

log = logging.getLogger(__name__)

_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class RateLimiter:
    """One user's excess never costs another user anything."""

    def __init__(self, redis: Any, *, window_seconds: int) -> None:
        self._window = window_seconds * 1000
        self._count = redis.register_script(_COUNT)

    async def check(self, user_id: str, endpoint: str, *, limit: int) -> None:
        """Count one request.

        Raises:
            RateLimited: it is one too many; says when to come back.
        """
        try:
            count, left = await self._count(keys=[f"rate_limit:{user_id}:{endpoint}"], args=[self._window])
        except (RedisError, OSError):
            # a quota that cannot be counted must not lock everybody out
            log.warning("quota of %s not counted: Redis is away", endpoint)
            return
        if count > limit:
            seconds = max(left, 1) / 1000
            raise RateLimited(
                f"Too many requests: {limit} in {self._window // 1000} s are allowed. Wait {seconds:.1f} s.",
                retry_after=seconds,
            )
