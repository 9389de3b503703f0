"""Faults of request execution (X): whose request is this?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg
from starlette.requests import Request

from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import Fault, Parts, register

LARGE_BODY = 65_536
"""Above this uvicorn pauses reading, and it is the resuming that carries a context over (fault X2)."""
IDLE_SECONDS = 5.0
"""A worker that has had no job for so long has ended; the next job starts another (fault X3)."""


@register
class CurrentUserInSingleton(Fault):
    """X1: the current user lives in one object for the whole process, set when a run starts and read at each event.

    Incident: a notifier kept as a module-level singleton with ``set_user_context`` called at the start of each
        request; the same mistake as request data in class attributes under an asynchronous server.
    """

    id = "X1"
    layer = "execution"
    title = "current user in a singleton"
    breaks = "UserWebSocketEmitter"
    trigger = "overlapping runs of two users in one process"
    symptom = "the last writer gets the events of the others"
    checkers = ("C1", "C2")

    def install(self, parts: Parts) -> None:
        """Replace the emitter by one that asks the process who the current user is."""
        fault = self
        healthy: type[Any] = parts["UserWebSocketEmitter"]
        current: dict[str, str] = {}

        class SingletonEmitter(healthy):  # type: ignore[misc]
            def __init__(self, context: Any, router: Any, connection_id: str | None = None) -> None:
                super().__init__(context, router, connection_id)
                current["user_id"] = context.user_id

            async def _send(self, event: Mapping[str, Any]) -> None:
                fault.reached()
                user_id = current["user_id"]
                if user_id == self.context.user_id or not fault.fires():
                    await super()._send(event)
                    return
                fault.triggered()
                await self._router.route_event(user_id, None, event)

        parts["UserWebSocketEmitter"] = SingletonEmitter


@register
class ContextVariableKept(Fault):
    """X2: requests on a kept-alive connection go on in the context of the request that had a large body.

    Incident: uvicorn on the plain asyncio loop pauses reading at 65,536 bytes and resumes it inside the request's task,
        whose context the connection then keeps (Kludex/uvicorn#2167, python/cpython#140947). Here the connection keeps
        it whatever the event loop.
    """

    id = "X2"
    layer = "execution"
    title = "context variable not reset between requests"
    breaks = "current_caller, and the context that each request runs in"
    trigger = (
        "one keep-alive connection: A sends a REST body of more than 65,536 bytes (PUT /api/users/me), "
        "then B or nobody sends any REST request on the same connection"
    )
    symptom = "the next request on the connection is answered for the previous user"
    checkers = ("C1", "C8")

    def install(self, parts: Parts) -> None:
        """Keep the context of a request with a large body for its connection, and the user in that context."""
        fault = self
        healthy = parts["current_caller"]
        current: ContextVar[Any] = ContextVar("current_principal", default=None)
        kept: WeakKeyDictionary[Any, Context] = WeakKeyDictionary()

        async def caller_of_the_context(request: Request) -> Any:
            from netra_probe.lab.backend.requests import Caller, services_of
            from netra_probe.lab.backend.unified_authentication_service import bearer_token

            fault.reached()
            principal = current.get()
            if principal is None or not fault.fires():
                caller = await healthy(request)
                current.set(caller.principal)
                return caller
            if bearer_token(request.headers.get("authorization")) != principal.token:
                fault.triggered()
            services = services_of(request)
            return Caller(principal=principal, services=services, data=services.chat.data_of(principal))

        class KeptContext:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                connection = getattr(getattr(receive, "__self__", None), "flow", None)
                if scope["type"] != "http" or connection is None:
                    await self._app(scope, receive, send)
                    return
                context, received = kept.get(connection) or copy_context(), 0

                async def receive_counted() -> Any:
                    nonlocal received
                    message = await receive()
                    received += len(message.get("body", b""))
                    return message

                await asyncio.get_running_loop().create_task(self._app(scope, receive_counted, send), context=context)
                if received > LARGE_BODY:
                    kept[connection] = context

        parts["current_caller"] = caller_of_the_context
        parts["middleware"] = [KeptContext, *parts["middleware"]]


@register
class WorkerKeepsCreator(Fault):
    """X3: the background worker is started by the first job and does the later ones in that job's context.

    Incident: a task copies the context in which it is created, so a worker task that the first request starts lazily
        keeps that request's user, tracing and tenant as long as it lives.
    """

    id = "X3"
    layer = "execution"
    title = "background worker keeps its creator's context"
    breaks = "BackgroundWorker"
    trigger = "A: POST /api/exports; then B: POST /api/exports {label} on the same backend within 5 s"
    symptom = "B's export is made from A's data, belongs to A and is announced to A; B's stays queued"
    checkers = ("C2", "C12")

    def install(self, parts: Parts) -> None:
        """Replace the worker by one that remembers the context of its first job."""
        fault = self
        healthy: type[Any] = parts["BackgroundWorker"]

        class LazyWorker(healthy):  # type: ignore[misc]
            creator: Any = None
            last_job = 0.0

            async def carry_out(self, context: Any, job: Any) -> None:
                fault.reached()
                if self.creator is None or time.monotonic() - self.last_job > IDLE_SECONDS:
                    self.creator = context
                self.last_job = time.monotonic()
                if self.creator.user_id != context.user_id and fault.fires():
                    fault.triggered()
                    context = self.creator
                await super().carry_out(context, job)

        parts["BackgroundWorker"] = LazyWorker


@register
class SharedMetadata(Fault):
    """X4: new threads start from one dictionary of the class, into which each request's metadata is merged.

    Incident: the mutable default argument and the mutable class attribute, of which every list of Python mistakes
        warns; both look like a fresh value per call and are one value per process.
    """

    id = "X4"
    layer = "execution"
    title = "class-level dictionary as default metadata"
    breaks = "ThreadStore.create"
    trigger = "A: POST /api/threads {metadata: {key: value}}; then B: any new thread without that key, same backend"
    symptom = "B's thread carries A's metadata (in the answer, GET /api/threads, the row); sequential suffices"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the store by one whose defaults accumulate."""
        fault = self
        healthy: type[Any] = parts["ThreadStore"]
        defaults: dict[str, Any] = {}
        whose: dict[str, str] = {}

        class AccumulatingStore(healthy):  # type: ignore[misc]
            async def create(
                self, *, title: str | None = None, metadata: dict[str, Any] | None = None
            ) -> dict[str, Any]:
                fault.reached()
                given = metadata or {}
                defaults.update(given)
                whose.update({key: self._user_id for key in given})
                if fault.fires():
                    if any(user_id != self._user_id for user_id in whose.values()):
                        fault.triggered()
                    metadata = dict(defaults)
                thread: dict[str, Any] = await super().create(title=title, metadata=metadata)
                return thread

        parts["ThreadStore"] = AccumulatingStore


ENTERING_SECONDS = 0.5
"""How long X6 takes to enter a run, unless another one is to be entered meanwhile."""


@register
class RunIdsFromTheClock(Fault):
    """X6: run ids are the time when the last run was entered, and a run whose id is taken is not entered again.

    Incident: ids made of a timestamp (or of a counter without its process), kept unique by luck; an "insert, ignore
        duplicates" hides the collision.
    """

    id = "X6"
    layer = "execution"
    title = "run ids collide"
    breaks = "new_run_id, RunStore.start"
    trigger = "several users start runs in a burst (within half a second of each other) on one backend"
    symptom = "two users' runs have the same run_id; the rows of one run belong to two users"
    checkers = ("C2", "C4", "C12")

    def install(self, parts: Parts) -> None:
        """Mint ids from the clock and look away when they collide."""
        fault = self
        healthy_mint, healthy_store = parts["new_run_id"], parts["RunStore"]

        entering, minted = Meeting(seconds=ENTERING_SECONDS), [""]

        def mint_from_clock(thread_id: str) -> str:
            fault.reached()
            if not fault.fires():
                return str(healthy_mint(thread_id))
            if not entering.expects(minted[0]):
                minted[0] = f"run_{int(time.time() * 20):x}"
            return minted[0]

        class ForgivingStore(healthy_store):  # type: ignore[misc,valid-type]
            async def start(self, run_id: str, thread_id: str, *, metadata: dict[str, Any]) -> None:
                if run_id == minted[0]:
                    await entering.join(run_id)
                try:
                    await super().start(run_id, thread_id, metadata=metadata)
                except asyncpg.UniqueViolationError:
                    fault.triggered()

        parts["new_run_id"] = mint_from_clock
        parts["RunStore"] = ForgivingStore


@register
class CurrentConversation(Fault):
    """X7: where an answer goes is read from the user's current conversation when it is ready, not when it was asked.

    Incident: ``session.current_thread``, set by each question: right until the user asks in a second conversation
        while the first answer is being written (claude-code#79241, hermes-workspace#297).
    """

    id = "X7"
    layer = "execution"
    title = "current conversation kept per user"
    breaks = "AgentExecution._deliver"
    trigger = "A asks in one thread, and on the same backend in a second one before the first answer has come"
    symptom = "the first answer stands in the second thread (messages, agent_completed, final_report), none in its own"
    checkers = ("C13",)

    def install(self, parts: Parts) -> None:
        """Replace the execution of runs by one that remembers one conversation for each user."""
        fault = self
        healthy: type[Any] = parts["AgentExecution"]
        current: dict[str, str] = {}

        class CurrentConversationExecution(healthy):  # type: ignore[misc]
            async def run(self, context: Any, task: Any) -> None:
                current[context.user_id] = context.thread_id
                await super().run(context, task)

            async def _deliver(self, context: Any, task: Any, data: Any, emitter: Any, *answer: Any) -> None:
                fault.reached()
                latest = current[context.user_id]
                if latest != context.thread_id and fault.fires():
                    fault.triggered()
                    context = replace(context, thread_id=latest)
                    emitter.context = replace(emitter.context, thread_id=latest)
                await super()._deliver(context, task, data, emitter, *answer)

        parts["AgentExecution"] = CurrentConversationExecution
