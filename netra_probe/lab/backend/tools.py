"""The tools that agents can call; each reads rows of the caller only, through stores that are bound to the caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from netra_probe.lab.backend.errors import (
    BackendError,
    Conflict,
    DependencyDown,
    InvalidRequest,
    NotFound,
    PermissionMissing,
)
from netra_probe.lab.backend.tool_connections import ToolConnections, ToolServer
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter

if TYPE_CHECKING:
    from netra_probe.lab.backend.data_access_factory import DataAccessFactory, UserData

ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """What a tool is given: whose call it is, that user's data and the parameters."""

    context: UserExecutionContext
    data: UserData
    parameters: Mapping[str, Any]
    connections: ToolConnections


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A named function over one user's data; `permission` is what the caller must hold, None for everybody."""

    name: str
    description: str
    run: Callable[[ToolCall], Awaitable[Any]]
    permission: str | None = None


async def user_profile(call: ToolCall) -> dict[str, Any]:
    """Name and preferences of the caller."""
    profile = await call.data.profile.get() or {}
    return {"name": profile.get("name", ""), "preferences": profile.get("preferences", {})}


async def spend_summary(call: ToolCall) -> dict[str, Any]:
    """The caller's spend records and their sum."""
    records = await call.data.spend.list()
    return {
        "records": [{key: record[key] for key in ("service", "amount_usd", "note")} for record in records],
        "total_usd": round(sum(record["amount_usd"] for record in records), 2),
    }


async def recent_messages(call: ToolCall) -> dict[str, Any]:
    """What the caller asked over all of their threads before this run."""
    messages = await call.data.messages.recent(role="user", limit=6)
    earlier = [message["content"] for message in messages if message["run_id"] != call.context.run_id]
    return {"earlier_requests": earlier[:5]}


async def thread_lookup(call: ToolCall) -> dict[str, Any]:
    """Title and requests of one of the caller's threads, by id."""
    thread_id = call.parameters.get("thread_id")
    if not isinstance(thread_id, str):
        raise InvalidRequest("thread_lookup needs a thread_id.")
    thread = await call.data.threads.get(thread_id)
    messages = await call.data.messages.of_thread(thread_id)
    return {
        "thread_id": thread["id"],
        "title": thread["title"],
        "requests": [message["content"] for message in messages if message["role"] == "user"][-5:],
    }


async def conversation_index(call: ToolCall) -> dict[str, Any]:
    """What the index server shows of the caller's conversations, over the caller's own session there."""
    return await call.connections.call(call.data, "conversation_index", call.parameters)


async def credit_ledger(call: ToolCall) -> dict[str, Any]:
    """The caller's credit balance and newest transactions, for those who administer billing."""
    return await call.data.spend.credits()


TOOLS: tuple[Tool, ...] = (
    Tool(name="user_profile", description="name and preferences of the caller", run=user_profile),
    Tool(name="spend_summary", description="the caller's spend records and their sum", run=spend_summary),
    Tool(name="recent_messages", description="what the caller asked before", run=recent_messages),
    Tool(name="thread_lookup", description="one of the caller's threads, by id", run=thread_lookup),
    Tool(name="conversation_index", description="the caller's conversations, from the index", run=conversation_index),
    Tool(name="credit_ledger", description="the caller's credit transactions", run=credit_ledger, permission=ADMIN),
)


TOOL_SECONDS = 10.0


class ToolTimeout(DependencyDown):
    """A tool did not end in time."""

    code = "TOOL_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """What a call gave: a result, or the refusal and its code and sentence as the result."""

    tool_name: str
    result: Any
    milliseconds: int
    refusal: BackendError | None = None

    @property
    def success(self) -> bool:
        """The tool ran to its end."""
        return self.refusal is None


class ToolExecutionEngine:
    """Checks the permission, binds the data to the caller, runs the tool, logs the use."""

    def __init__(self, data_access: DataAccessFactory, connections: ToolConnections | None = None) -> None:
        self._data_access = data_access
        self._connections = connections or ToolConnections(ToolServer())

    async def execute(
        self, tool: Tool, context: UserExecutionContext, parameters: Mapping[str, Any], permissions: Sequence[str]
    ) -> ToolOutcome:
        """Run `tool` for the context's user; refusals and failures become outcomes, not exceptions."""
        started = time.perf_counter()
        data = self._data_access.for_user(context)
        refusal: BackendError | None = None
        result: Any = None
        try:
            self.check_permission(tool, permissions)
            async with asyncio.timeout(TOOL_SECONDS):
                result = await tool.run(
                    ToolCall(context=context, data=data, parameters=parameters, connections=self._connections)
                )
        except BackendError as error:
            refusal = error
        except TimeoutError:
            refusal = ToolTimeout(f"The tool took longer than {TOOL_SECONDS:.0f} s; try again with less data.")
        if refusal is not None:
            result = {"error_code": refusal.code, "error_message": refusal.message}
        milliseconds = int((time.perf_counter() - started) * 1000)
        await data.runs.record_tool_use(
            context.run_id,
            tool_name=tool.name,
            parameters=dict(parameters),
            success=refusal is None,
            milliseconds=milliseconds,
        )
        return ToolOutcome(tool_name=tool.name, result=result, milliseconds=milliseconds, refusal=refusal)

    def check_permission(self, tool: Tool, permissions: Sequence[str]) -> None:
        """Raise unless the caller holds what the tool asks for."""
        if tool.permission is not None and tool.permission not in permissions:
            raise PermissionMissing(f"The tool {tool.name} needs the permission {tool.permission!r}.")


class UnifiedToolDispatcher:
    """Belongs to one request; a second request gets its own."""

    def __init__(
        self,
        user_context: UserExecutionContext,
        *,
        engine: ToolExecutionEngine,
        tools: Iterable[Tool],
        permissions: Sequence[str] = (),
        emitter: UserWebSocketEmitter | None = None,
    ) -> None:
        self.user_context = user_context
        self._engine = engine
        self._tools = {tool.name: tool for tool in tools}
        self._permissions = tuple(permissions)
        self._emitter = emitter
        self._closed = False

    @classmethod
    async def create_for_user(
        cls,
        user_context: UserExecutionContext,
        *,
        engine: ToolExecutionEngine,
        tools: Iterable[Tool],
        permissions: Sequence[str] = (),
        emitter: UserWebSocketEmitter | None = None,
    ) -> Self:
        """A dispatcher for one request, once its context has proved to be isolated."""
        user_context.verify_isolation()
        return cls(user_context, engine=engine, tools=tools, permissions=permissions, emitter=emitter)

    def available(self) -> tuple[Tool, ...]:
        """The tools that this user may call."""
        return tuple(
            tool for tool in self._tools.values() if tool.permission is None or tool.permission in self._permissions
        )

    async def execute_tool(
        self, name: str, parameters: Mapping[str, Any] | None = None, *, agent_name: str = "tools"
    ) -> ToolOutcome:
        """Run one tool, with ``tool_executing`` before and ``tool_completed`` after it.

        Raises:
            NotFound: there is no such tool.
            Conflict: the request is over.
        """
        if self._closed:
            raise Conflict("This request is over; its tools cannot be called any more.")
        tool = self._tools.get(name)
        if tool is None:
            raise NotFound("There is no such tool.")
        given = dict(parameters or {})
        context = self.user_context.create_child_context(f"tool:{name}")
        if self._emitter is not None:
            await self._emitter.notify_tool_executing(agent_name, name, given)
        outcome = await self._engine.execute(tool, context, given, self._permissions)
        if self._emitter is not None:
            await self._emitter.notify_tool_completed(
                agent_name, name, outcome.result, success=outcome.success, execution_time_ms=outcome.milliseconds
            )
        return outcome

    async def cleanup(self) -> None:
        """End of the request: further calls are refused."""
        self._closed = True
        self._emitter = None
