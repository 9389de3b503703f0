"""BackgroundWorker: jobs that go on after their request was answered, each for the user who asked for it.

    worker.submit(context, job)        # job: an async function of the context; carried out soon, in this process

The workers are started with the process, before anybody has asked for anything, and hold nothing between jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from netra_probe.lab.backend.errors import RateLimited
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.user_execution_context import UserExecutionContext

log = logging.getLogger(__name__)

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
