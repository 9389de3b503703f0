"""Who executes the notebooks: worker processes of this run, or any executor that somebody else provides."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Protocol

from netra_probe.batch.execution import Execution, Order, execute, warm_up
from netra_probe.batch.interrupts import FROM_TERMINALS, end_with_parent
from netra_probe.batch.processes import end_workers
from netra_probe.batch.remote import RemoteJob, execute_remotely, unpack
from netra_probe.clients.rate_limit import Share

#: Seconds between two looks at what goes on while nothing ends.
LOOK_SECONDS = 0.25


class Workers(Protocol):
    """Takes orders; each future ends in an execution, or in what has befallen its worker."""

    @property
    def is_here(self) -> bool:
        """Whether the notebooks write into the run directory while they are executed."""

    def prepare(self, *, jobs: int, orders: int) -> None:
        """So many orders will come, so many of them at a time."""

    def submit(self, order: Order) -> Future[Execution]:
        """Begin with an order; never more than ``jobs`` at a time are asked for."""

    def settle(self, order: Order, future: Future[Execution]) -> Execution:
        """The future has ended."""

    def trouble(self) -> str:
        """Why nothing more will come from those who work, or ""."""

    def close(self) -> None:
        """All is done."""

    def abort(self) -> None:
        """Nothing more is wanted."""


class OwnProcesses:
    """Processes of this run, each a pool of its own: one that dies takes no other with it."""

    is_here = True

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._free: list[ProcessPoolExecutor] = []
        self._busy: dict[Future[Execution], ProcessPoolExecutor] = {}

    def prepare(self, *, jobs: int, orders: int) -> None:
        """Start the processes, which load papermill while nobody needs them yet."""
        for _ in range(max(1, min(jobs, orders)) - len(self._free)):
            pool = self._new()
            with _uninterrupted_children():
                pool.submit(warm_up)
            self._free.append(pool)

    def submit(self, order: Order) -> Future[Execution]:
        pool = self._free.pop() if self._free else self._new()
        with _uninterrupted_children():
            try:
                future = pool.submit(execute, order)
            except BrokenProcessPool:  # it died while it had nothing to do
                pool = self._new()
                future = pool.submit(execute, order)
        self._busy[future] = pool
        return future

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1, mp_context=self._context, initializer=end_with_parent, initargs=(os.getpid(),)
        )

    def settle(self, order: Order, future: Future[Execution]) -> Execution:
        pool = self._busy.pop(future)
        try:
            execution = future.result()
        except BrokenProcessPool:
            pool.shutdown(wait=False)
            return Execution(id=order.id, status="died", reason="its worker process died")
        self._free.append(pool)
        return execution

    def trouble(self) -> str:
        return ""

    def close(self) -> None:
        for pool in self._free:
            pool.shutdown()

    def abort(self) -> None:
        for pool in (*self._free, *self._busy.values()):
            pool.shutdown(wait=False, cancel_futures=True)
        end_workers()


class RemoteExecutor:
    """An executor whose workers share nothing with us: notebooks go there as bytes, and what they leave comes back."""

    is_here = False

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._running: set[Future[Execution]] = set()
        self._share = Share()

    def prepare(self, *, jobs: int, orders: int) -> None:
        """Nobody can count for all of them: each gets its part of what the target allows."""
        self._share = Share(rate=max(1, min(jobs, orders)), most=max(1, orders))

    def submit(self, order: Order) -> Future[Execution]:
        future = self._executor.submit(execute_remotely, RemoteJob.of(order, self._share))
        self._running.add(future)
        return future

    def settle(self, order: Order, future: Future[Execution]) -> Execution:
        self._running.discard(future)
        try:
            execution = future.result()
        except (Exception, CancelledError) as error:
            # Whatever an executor that we do not know says of its end.
            told = f"{type(error).__name__}: {error}".rstrip(": ")
            return Execution(id=order.id, status="died", reason=f"its worker was lost ({told})")
        try:
            return unpack(order, execution)
        except OSError as error:
            reason = f"what it left cannot be written here ({error.strerror})"
            return replace(execution, status="failed", reason=reason, files={})

    def trouble(self) -> str:
        return ""

    def close(self) -> None:
        """The executor is not ours to shut down."""

    def abort(self) -> None:
        for future in self._running:
            future.cancel()


def execute_all(
    orders: Sequence[Order],
    workers: Workers,
    *,
    jobs: int,
    started: Callable[[str], None] = lambda id: None,
    look: Callable[[], None] = lambda: None,
) -> Generator[Execution, None, None]:
    """Execute the orders in their sequence, ``jobs`` at a time; yields each execution when it ends.

    The workers have been prepared for them. Whoever stops asking for more, or interrupts, ends those that run.

    Arguments:
        started: called with the id of each notebook that begins.
        look: called several times in a second while the notebooks run.
    """
    waiting, running, ready = deque(orders), dict[Future[Execution], Order](), list[Execution]()
    try:
        while waiting or running or ready:
            while waiting and len(running) < max(1, jobs):
                order = waiting.popleft()
                started(order.id)
                try:
                    running[workers.submit(order)] = order
                except Exception as error:
                    # A pool or cluster that takes no more work ends no more than the notebook it did not take.
                    reason = f"no worker took it ({type(error).__name__}: {error})"
                    ready.append(Execution(id=order.id, status="died", reason=reason))
            # Whoever looks at what has ended keeps nobody waiting: the next ones have begun.
            while ready:
                yield ready.pop(0)
            ended, _ = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            look()
            ready = [workers.settle(running.pop(future), future) for future in ended]
            if running and (trouble := workers.trouble()):
                lost = [*running.values(), *waiting]
                workers.abort()
                running.clear()
                waiting.clear()
                ready += [Execution(id=order.id, status="died", reason=trouble) for order in lost]
    except (KeyboardInterrupt, GeneratorExit):
        workers.abort()
        raise


@contextlib.contextmanager
def _uninterrupted_children() -> Iterator[None]:
    """Processes that are started in the block hear nothing of a terminal until they can say what they think of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
