"""What all users of one process share: Redis, quotas, the worker and the control channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from netra_probe.lab.backend.errors import DependencyDown, RateLimited
from netra_probe.lab.backend.settings import BackendSettings, Limits
from netra_probe.lab.backend.user_execution_context import UserExecutionContext

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
        # with RESP3 redis-py 8 takes an idle connection that the server has closed for a good one
        protocol=2,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        # a command sent again after its connection broke may be carried out twice: an event would be doubled
        retry=Retry(NoBackoff(), 0),
        max_connections=MAX_CONNECTIONS,
    )
    return client


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


WORKERS = 2

Job = Callable[[UserExecutionContext], Awaitable[None]]


class BackgroundWorker:
    """A queue and a few tasks that empty it; what a job needs to know of its user travels with the job."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._queue: asyncio.Queue[tuple[UserExecutionContext, Job]] = asyncio.Queue()
        self._waiting: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work."""
        self._tasks = [asyncio.create_task(self._work(), name=f"background-worker-{n}") for n in range(WORKERS)]

    async def stop(self) -> None:
        """Stop working; jobs that wait are given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def submit(self, context: UserExecutionContext, job: Job) -> None:
        """Have a job carried out.

        Raises:
            RateLimited: too many jobs of this user are waiting.
        """
        if self._waiting[context.user_id] >= self._limits.waiting_jobs:
            raise RateLimited("Too many of your jobs are waiting; ask again when one is done.", retry_after=1.0)
        self._waiting[context.user_id] += 1
        self._queue.put_nowait((context, job))

    async def carry_out(self, context: UserExecutionContext, job: Job) -> None:
        """Do one job; its failure is its own."""
        try:
            await job(context)
        except Exception:
            log.exception("a background job of request %s failed", context.request_id)

    async def _work(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                context, job = await self._queue.get()
                try:
                    await self.carry_out(context, job)
                finally:
                    self._waiting[context.user_id] -= 1
                    self._waiting += Counter()  # forgets users for whom nothing waits


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
