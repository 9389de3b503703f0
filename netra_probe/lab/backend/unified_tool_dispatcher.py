"""UnifiedToolDispatcher: which tools one request may call, and calling them with events.

tools = await UnifiedToolDispatcher.create_for_user(context, engine=engine, tools=TOOLS, permissions=permissions)
outcome = await tools.execute_tool("spend_summary", {})
await tools.cleanup()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from netra_probe.lab.backend.errors import Conflict, NotFound
from netra_probe.lab.backend.tool_execution_engine import ToolExecutionEngine, ToolOutcome
from netra_probe.lab.backend.tools import Tool
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter


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
