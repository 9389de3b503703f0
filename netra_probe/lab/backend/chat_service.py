"""ChatService: from a user's message to a run in progress; and threads, whose changes are sent to their user."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.lab.backend.agent_registry import AgentRegistry
from netra_probe.lab.backend.agents.agent import Task
from netra_probe.lab.backend.agents.execution import AgentExecution
from netra_probe.lab.backend.data_access_factory import DataAccessFactory, UserData
from netra_probe.lab.backend.database_manager import DatabaseManager
from netra_probe.lab.backend.errors import Conflict, InvalidRequest
from netra_probe.lab.backend.process_resources import BackgroundWorker, ControlChannel
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.unified_authentication_service import Principal
from netra_probe.lab.backend.user_execution_context import (
    UserExecutionContext,
    new_record_id,
    new_run_id,
    new_thread_id,
)
from netra_probe.lab.backend.user_websocket_emitter import plain_event
from netra_probe.lab.backend.websocket_core.session_watch import ERASED, SessionWatch
from netra_probe.lab.backend.websocket_event_router import WebSocketEventRouter

MAX_REQUEST = 32_768
TITLE_LENGTH = 60
SESSION_ENDS = frozenset({"logout", "account_disabled", "account_deleted"})


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What a client asked for; `echo` are its own ids, handed back so that it can tell its runs apart."""

    text: str
    thread_id: str | None = None
    references: tuple[str, ...] = ()
    turn_id: str | None = None
    echo: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StartedRun:
    """Where to look for the events and the result."""

    run_id: str
    thread_id: str
    message: Mapping[str, Any]


class ChatService:
    """Everything a user can do with threads and runs, whichever way the wish came in."""

    def __init__(
        self,
        *,
        data_access: DataAccessFactory,
        registry: AgentRegistry,
        execution: AgentExecution,
        router: WebSocketEventRouter,
        control: ControlChannel,
        watch: SessionWatch,
        limits: Limits,
        backend: str,
        context_class: type[UserExecutionContext] = UserExecutionContext,
        mint_run_id: Callable[[str], str] = new_run_id,
    ) -> None:
        self._backend = backend
        self._context_class = context_class
        self._mint_run_id = mint_run_id
        self._data_access = data_access
        self._registry = registry
        self._execution = execution
        self._router = router
        self._control = control
        self._watch = watch
        self._limits = limits
        control.on("stop_run", self._stop_here)
        control.on("erase", self._erase_here)
        control.on("check_sessions", self._check_here)

    # Data

    def data_of(self, principal: Principal, *, thread_id: str | None = None) -> UserData:
        """The caller's own stores."""
        return self._data_access.for_user(self.context_of(principal, thread_id=thread_id))

    def context_of(self, principal: Principal, *, thread_id: str | None = None) -> UserExecutionContext:
        """The context of a request that is no run."""
        thread_id = thread_id or new_thread_id()
        return self._context_class.from_request(
            principal.user_id,
            thread_id,
            new_record_id("request"),
            agent_context={"permissions": principal.permissions},
        )

    # Threads

    async def create_thread(
        self, principal: Principal, *, title: str | None = None, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A new thread, announced on all of the user's connections."""
        data = self.data_of(principal)
        await data.profile.ensure(principal.email)
        thread = await data.threads.create(title=title, metadata=metadata)
        await self._announce("thread_created", thread)
        return thread

    async def update_thread(
        self, principal: Principal, thread_id: str, *, title: str | None, metadata: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Change a thread; a new title is announced."""
        thread = await self.data_of(principal).threads.update(thread_id, title=title, metadata=metadata)
        if title is not None:
            await self._announce("thread_renamed", thread)
        return thread

    async def _announce(self, kind: str, thread: Mapping[str, Any]) -> None:
        payload = {"thread_id": thread["id"], "title": thread["title"], "created_at": thread["created_at"]}
        await self._router.route_event(
            thread["metadata"]["user_id"], None, plain_event(kind, thread_id=thread["id"], payload=payload)
        )

    # Runs

    async def begin(
        self, principal: Principal, request: ChatRequest, *, connection_id: str | None = None
    ) -> StartedRun:
        """Store the message and the run, then let the agents work.

        Raises:
            InvalidRequest: no text, or too much of it.
            Forbidden, NotFound: the thread is somebody else's or does not exist.
            RateLimited: too many runs at once.
        """
        if not request.text.strip():
            raise InvalidRequest("The message is empty: say what you want to know.", code="EMPTY_MESSAGE")
        if len(request.text) > MAX_REQUEST:
            raise InvalidRequest(f"The message is longer than {MAX_REQUEST} characters: shorten it.")
        data = self.data_of(principal)
        if request.thread_id is None:
            thread_id = (await self.create_thread(principal, title=_title(request.text)))["id"]
        else:
            await data.profile.ensure(principal.email)
            thread_id = request.thread_id
        run_id = self._mint_run_id(thread_id)
        context = self._context_class.from_request(
            principal.user_id,
            thread_id,
            run_id,
            websocket_client_id=connection_id,
            agent_context={
                "permissions": principal.permissions,
                "turn_id": request.turn_id,
                "echo": dict(request.echo),
            },
        )
        metadata = {**request.echo, "backend": self._backend}
        if request.turn_id is not None:
            metadata["turn_id"] = request.turn_id
        await data.runs.start(run_id, thread_id, metadata=metadata)
        message = await data.messages.add(thread_id, role="user", content=request.text, run_id=run_id)
        task = Task(request=request.text, references=request.references)
        try:
            self._registry.launch(context, self._execution.run(context, task))
        except Exception:
            await data.runs.finish(run_id, status="failed", error="The run could not be started.")
            raise
        return StartedRun(run_id=run_id, thread_id=thread_id, message=message)

    async def stop(self, principal: Principal, run_id: str) -> None:
        """Stop one of the user's runs, on whichever backend it works.

        Raises:
            Forbidden, NotFound: the run is somebody else's or does not exist.
            Conflict: it has ended already.
        """
        run = await self.data_of(principal).runs.get(run_id)
        if run["status"] != "in_progress":
            raise Conflict("The run has ended already.", code="RUN_ENDED")
        await self._control.order(
            {"kind": "stop_run", "user_id": principal.user_id, "run_id": run_id}, timeout=self._limits.erase_seconds
        )

    async def stop_thread(self, principal: Principal, thread_id: str) -> list[str]:
        """Stop all runs in progress of one of the user's threads; returns their ids."""
        data = self.data_of(principal)
        await data.threads.get(thread_id)
        running = [run["id"] for run in await data.runs.list(thread_id=thread_id) if run["status"] == "in_progress"]
        for run_id in running:
            await self.stop(principal, run_id)
        return running

    # What the auth service tells

    async def take_auth_event(self, event: str, user_id: str) -> None:
        """A completed OAuth login is sent to the user; an ended session is checked at once, on all backends."""
        if event == "oauth_completed":
            await self._router.route_event(user_id, None, plain_event(event, payload={"user_id": user_id}))
        elif event in SESSION_ENDS:
            await self._control.order(
                {"kind": "check_sessions", "user_id": user_id}, timeout=self._limits.erase_seconds
            )

    async def _check_here(self, message: Mapping[str, Any]) -> None:
        await self._watch.check_user(message["user_id"])

    # The end of a user

    async def erase(self, principal: Principal) -> dict[str, int]:
        """End the user's runs and sockets everywhere, then delete every row and key of theirs."""
        await self._control.order({"kind": "erase", "user_id": principal.user_id}, timeout=self._limits.erase_seconds)
        data = self.data_of(principal)
        rows = await data.profile.erase()
        keys = await data.erase_keys()
        return {"users": rows, "keys": keys}

    async def _stop_here(self, message: Mapping[str, Any]) -> None:
        self._registry.stop_agent(message["user_id"], message["run_id"])

    async def _erase_here(self, message: Mapping[str, Any]) -> None:
        await self._registry.cleanup_user_session(message["user_id"])
        await self._watch.end_user(message["user_id"], ERASED)


def _title(text: str) -> str:
    first_line = text.strip().splitlines()[0]
    return first_line if len(first_line) <= TITLE_LENGTH else first_line[: TITLE_LENGTH - 1] + "…"


EXPORTED = 500
"""At most so many threads and so many messages, the newest ones."""


class ExportService:
    """Queues exports and makes them."""

    def __init__(
        self,
        *,
        database: DatabaseManager,
        data_access: DataAccessFactory,
        worker: BackgroundWorker,
        router: WebSocketEventRouter,
        backend: str,
    ) -> None:
        self._database = database
        self._data_access = data_access
        self._worker = worker
        self._router = router
        self._backend = backend

    async def request(self, context: UserExecutionContext, label: str) -> dict[str, Any]:
        """Queue an export for the context's user.

        Raises:
            RateLimited: too many are waiting.
        """
        exports = self._data_access.for_user(context).exports
        export = await exports.queue(label, backend=self._backend)
        try:
            self._worker.submit(context, functools.partial(self.make, export_id=export["id"], label=label))
        except Exception:
            await exports.fail(export["id"])
            raise
        return export

    async def make(self, context: UserExecutionContext, *, export_id: str, label: str) -> None:
        """Gather the data of the context's user, keep the document, tell the user."""
        data = self._data_access.for_user(context)
        try:
            document = {
                "label": label,
                "threads": await data.threads.list(limit=EXPORTED),
                "messages": await data.messages.recent(limit=EXPORTED),
            }
            await data.exports.complete(export_id, document)
        except BaseException:
            await data.exports.fail(export_id)
            raise
        payload = {
            "export_id": export_id,
            "label": label,
            "user_id": context.user_id,
            "threads": len(document["threads"]),
            "messages": len(document["messages"]),
        }
        await self._router.route_event(context.user_id, None, plain_event("export_ready", payload=payload))

    async def give_up_left_over(self) -> None:
        """Exports that a former life of this backend left in its queue will never be made: say so."""
        async with self._database.get_service_session() as session:
            await session.execute(
                "UPDATE exports SET status = 'failed' WHERE status = 'queued' AND backend = $1", self._backend
            )
