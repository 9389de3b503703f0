"""WebSocketEventRouter: which connections get an event, on whichever backend they are.

    await router.register_connection(user_id, connection_id)
    await router.route_event(user_id, connection_id, event)     # to every connection of that user, and of nobody else

`connection_id` names the connection that asked for the work; it is checked against its user, never used to choose
somebody else's. Who is connected where is kept in ``user_sessions:{uid}`` (connection → backend).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from netra_probe.lab.backend.errors import DependencyDown, Forbidden
from netra_probe.lab.backend.websocket_core.event_log import LIVE_PATTERN, EventLog, user_of_channel
from netra_probe.lab.backend.websocket_core.subscription import ConnectionHub

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

    async def _listen(self, ready: asyncio.Event) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.psubscribe(LIVE_PATTERN)
                    async for message in channel.listen():
                        if message["type"] == "psubscribe":
                            ready.set()
                            self._hub.wake_all()
                        elif message["type"] == "pmessage":
                            self._hub.wake(user_of_channel(message["channel"]))
            except (RedisError, OSError) as error:
                log.warning("event router lost Redis (%s); trying again", type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _forget_former_life(self) -> None:
        async for key in self._redis.scan_iter(match="user_sessions:*", count=500):
            gone = [cid for cid, backend in (await self._redis.hgetall(key)).items() if backend == self._backend]
            if gone:
                await self._redis.hdel(key, *gone)
