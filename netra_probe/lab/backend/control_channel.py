"""ControlChannel: orders that every backend must carry out, with confirmation that all of them did.

confirmed = await control.order({"kind": "erase", "user_id": user_id})
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.exceptions import RedisError

from netra_probe.lab.backend.errors import DependencyDown

log = logging.getLogger(__name__)

CHANNEL = "backend:control"
RECONNECT_SECONDS = 0.2
REPLY_SECONDS = 10

Handler = Callable[[Mapping[str, Any]], Awaitable[None]]


class ControlChannel:
    """Publish/subscribe for orders and a short-lived list per order for the replies."""

    def __init__(self, *, redis: Any) -> None:
        self._redis = redis
        self._handlers: dict[str, Handler] = {}
        self._task: asyncio.Task[None] | None = None
        self._working: set[asyncio.Task[None]] = set()

    def on(self, kind: str, handler: Handler) -> None:
        """Carry out orders of this kind with `handler`."""
        self._handlers[kind] = handler

    async def start(self) -> None:
        """Begin to listen, once the subscription is confirmed."""
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(ready), name="control-channel")
        await asyncio.wait_for(ready.wait(), timeout=5.0)

    async def stop(self) -> None:
        """Stop listening."""
        for task in (self._task, *self._working):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def order(self, message: Mapping[str, Any], *, timeout: float) -> bool:
        """Have all backends carry out an order; True when every one of them confirmed in time.

        Raises:
            DependencyDown: the order could not be given.
        """
        reply_to = f"control_reply:{uuid.uuid4().hex}"
        try:
            receivers = await self._redis.publish(CHANNEL, json.dumps({**message, "reply_to": reply_to}))
            async with asyncio.timeout(timeout):
                for _ in range(receivers):
                    if await self._redis.blpop([reply_to], timeout=timeout) is None:
                        return False
        except TimeoutError:
            return False
        except (RedisError, OSError) as error:
            raise DependencyDown("The other backends cannot be reached; try again shortly.") from error
        return bool(receivers)

    async def _listen(self, ready: asyncio.Event) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    async for message in channel.listen():
                        if message["type"] == "subscribe":
                            ready.set()
                        elif message["type"] == "message":
                            task = asyncio.create_task(self._carry_out(json.loads(message["data"])))
                            self._working.add(task)
                            task.add_done_callback(self._working.discard)
            except (RedisError, OSError) as error:
                log.warning("control channel lost Redis (%s); trying again", type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _carry_out(self, message: Mapping[str, Any]) -> None:
        handler = self._handlers.get(message["kind"])
        try:
            if handler is not None:
                await handler(message)
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.rpush(message["reply_to"], "done")
                pipeline.expire(message["reply_to"], REPLY_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError):
            log.warning("an order of kind %s could not be confirmed", message["kind"])
