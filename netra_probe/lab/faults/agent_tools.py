"""Faults of the agents' tools (G): another run's result, another user's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import Fault, Parts, register

LOGGING_SECONDS = 0.3
"""How long G2 takes to log a call, unless another call of the same tool is logged meanwhile."""


@register
class ResultsByToolName(Fault):
    """G2: results wait for their run under the name of the tool.

    Incident: callbacks and results of tool calls in a dictionary by tool name instead of by call id.
    """

    id = "G2"
    layer = "agents"
    title = "tool results keyed by tool name"
    breaks = "UnifiedToolDispatcher, ToolExecutionEngine.execute"
    trigger = "A and B start runs at the same instant on one backend, so that both call the same tool at once"
    symptom = "tool_completed with the other's rows; or two tool_completed in one run and none in the other"
    checkers = ("C1", "C4")

    def install(self, parts: Parts) -> None:
        """Share results, and the place to announce them, between all calls of a tool."""
        fault = self
        engine: type[Any] = parts["ToolExecutionEngine"]
        dispatcher: type[Any] = parts["UnifiedToolDispatcher"]
        results: dict[str, tuple[object, Any]] = {}
        logging = Meeting(seconds=LOGGING_SECONDS)
        announcers: dict[str, Any] = {}

        class SharedResultsEngine(engine):  # type: ignore[misc]
            async def execute(self, tool: Any, context: Any, parameters: Any, permissions: Any) -> Any:
                call = object()

                async def run(given: Any) -> Any:
                    result = await tool.run(given)
                    results[tool.name] = (call, result)
                    return result

                # the use is logged after the tool has run: meanwhile another call may leave its result
                outcome = await super().execute(replace(tool, run=run), context, parameters, permissions)
                fault.reached()
                await logging.join(tool.name)
                whose, result = results.get(tool.name, (call, None))
                if whose is call or not outcome.success or not fault.fires():
                    return outcome
                fault.triggered()
                return replace(outcome, result=result)

        class LastAnnouncer:
            """An emitter that announces each completion wherever the last call of that tool was announced."""

            def __init__(self, emitter: Any) -> None:
                self._emitter = emitter

            def __getattr__(self, name: str) -> Any:
                return getattr(self._emitter, name)

            async def notify_tool_executing(self, agent_name: str, tool_name: str, given: Mapping[str, Any]) -> None:
                announcers[tool_name] = self._emitter
                await self._emitter.notify_tool_executing(agent_name, tool_name, given)

            async def notify_tool_completed(self, agent_name: str, tool_name: str, result: Any, **more: Any) -> None:
                announcer = announcers.get(tool_name, self._emitter)
                if announcer is self._emitter or announcer.finished or not fault.fires():
                    announcer = self._emitter
                else:
                    fault.triggered()
                await announcer.notify_tool_completed(agent_name, tool_name, result, **more)

        class SharedResultsDispatcher(dispatcher):  # type: ignore[misc]
            def __init__(self, user_context: Any, *, emitter: Any = None, **more: Any) -> None:
                super().__init__(user_context, emitter=None if emitter is None else LastAnnouncer(emitter), **more)

        parts["ToolExecutionEngine"] = SharedResultsEngine
        parts["UnifiedToolDispatcher"] = SharedResultsDispatcher


@register
class ToolWithServiceRights(Fault):
    """G6: the thread tool reads with the service's own rights instead of its caller's.

    Incident: the confused deputy (CWE-441): a tool with an administrator's connection that takes ids from the
        conversation.
    """

    id = "G6"
    layer = "agents"
    title = "tool uses the service's credential"
    breaks = "the tool thread_lookup"
    trigger = (
        "B: POST /api/tools/execute {tool_name: thread_lookup, parameters: {thread_id: <A's>}}, "
        "or a chat message with references: [<A's thread_id>]"
    )
    symptom = "200 (or tool_completed success) with title and requests of A's thread"
    checkers = ("C5", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the tool by one that asks over a service session whose the thread is, and reads it as its owner."""
        fault = self
        databases: list[Any] = []
        manager: type[Any] = parts["DatabaseManager"]

        class KnownDatabase(manager):  # type: ignore[misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                databases.append(self)

        async def owner_of(thread_id: object) -> str | None:
            async with databases[-1].get_service_session() as session:
                owner: str | None = await session.fetchval(
                    "SELECT user_id FROM threads WHERE id = $1 AND deleted_at IS NULL", str(thread_id)
                )
            return owner

        def with_service_rights(tool: Any) -> Any:
            async def run(call: Any) -> Any:
                fault.reached()
                owner = await owner_of(call.parameters.get("thread_id"))
                if owner in (None, call.data.user_id) or not fault.fires():
                    return await tool.run(call)
                fault.triggered()
                data = replace(
                    call.data,
                    threads=type(call.data.threads)(databases[-1], owner, call.data.cache),
                    messages=type(call.data.messages)(databases[-1], owner, call.data.cache),
                )
                return await tool.run(replace(call, data=data))

            return replace(tool, run=run)

        parts["DatabaseManager"] = KnownDatabase
        parts["tools"] = tuple(
            with_service_rights(tool) if tool.name == "thread_lookup" else tool for tool in parts["tools"]
        )


@register
class SessionOfTheServer(Fault):
    """T1: connections to a tool server are pooled under the server, so that the first caller's session serves all.

    Incident: an MCP client that keeps one session for each server URL, although the session is bound to the credential
        that opened it (google_workspace_mcp#162, mcp-context-forge#2055, fastmcp#1083).
    """

    id = "T1"
    layer = "agents"
    title = "tool server's session pooled by server, not by user"
    breaks = "ToolConnections.slot"
    trigger = "A, then B: POST /api/tools/execute {tool_name: conversation_index} on one backend"
    symptom = "B's call answers with A's account and the titles of A's threads, until the process ends"
    checkers = ("C1", "C2")

    def install(self, parts: Parts) -> None:
        """Keep one session for the whole process, and note whose it is, to count honestly."""
        fault = self
        healthy: type[Any] = parts["ToolConnections"]

        class PooledConnections(healthy):  # type: ignore[misc]
            def slot(self, user_id: str) -> str:
                return str(self.server.name) if fault.fires() else str(super().slot(user_id))

            async def call(self, data: Any, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
                fault.reached()
                answer: dict[str, Any] = await super().call(data, tool, arguments)
                if answer["account"] != data.user_id:
                    fault.triggered()
                return answer

        parts["ToolConnections"] = PooledConnections
