"""The client for Redis: bounded commands that can be cancelled at any moment."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

from netra_probe.lab.backend.settings import BackendSettings

COMMAND_SECONDS = 5.0
CONNECT_SECONDS = 3.0
MAX_CONNECTIONS = 100


class BoundedRedis(Redis):
    """Bounds each command with `asyncio.timeout`.

    The client's own ``socket_timeout`` sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation
    that arrives as the sending ends: the task goes on living, and a closed socket's reader with it.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and wait for its answer."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                answer: Any = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
                return answer
        except TimeoutError as error:
            raise RedisTimeoutError(f"Redis did not answer within {COMMAND_SECONDS:.0f} s") from error


def connect_redis(settings: BackendSettings) -> Any:
    """A client for this process's database; it connects when first used."""
    client: Any = BoundedRedis.from_url(
        settings.redis_url,
        decode_responses=True,
        client_name=settings.name,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        # a command sent again after its connection broke may be carried out twice: an event would be doubled
        retry=Retry(NoBackoff(), 0),
        max_connections=MAX_CONNECTIONS,
    )
    return client
