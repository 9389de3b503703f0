"""Starting, watching and stopping runs over REST, and calling tools directly."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse

from netra_probe.lab.backend.chat_service import ChatRequest
from netra_probe.lab.backend.routes.bodies import RunBody, ToolBody
from netra_probe.lab.backend.routes.caller import CurrentCaller
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.websocket_core.run_stream import RunStream


def _request(body: RunBody) -> ChatRequest:
    return ChatRequest(text=body.request, thread_id=body.thread_id, references=tuple(body.references))


async def chat_stream(caller: CurrentCaller, body: RunBody) -> StreamingResponse:
    """Start a run and stream its events as server-sent events until it ends."""
    stream = await RunStream.open(caller.services, caller.principal, _request(body))
    return StreamingResponse(
        stream.lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Run-Id": stream.run_id}
    )


async def execute_agent(caller: CurrentCaller, body: RunBody) -> dict[str, Any]:
    """Start a run; its events come over the caller's sockets."""
    started = await caller.services.chat.begin(caller.principal, _request(body))
    return {"run_id": started.run_id, "thread_id": started.thread_id, "status": "started"}


async def list_agents(caller: CurrentCaller) -> dict[str, Any]:
    """The agents that exist."""
    return {"agents": list(caller.services.factory.agent_names())}


async def list_runs(
    caller: CurrentCaller, thread_id: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> dict[str, Any]:
    """The caller's runs, newest first."""
    if thread_id is not None:
        await caller.data.threads.get(thread_id)
    return {"runs": await caller.data.runs.list(thread_id=thread_id, limit=limit)}


async def get_run(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """One run."""
    return await caller.data.runs.get(run_id)


async def get_run_steps(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """The steps of a run."""
    return {"run_id": run_id, "steps": await caller.data.runs.steps(run_id)}


async def get_run_state(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """What the agents of a run knew at its end."""
    return {"run_id": run_id, "states": await caller.data.runs.states(run_id)}


async def stop_run(caller: CurrentCaller, run_id: str) -> dict[str, Any]:
    """Stop a run in progress."""
    await caller.services.chat.stop(caller.principal, run_id)
    return {"run_id": run_id, "stopped": True}


async def list_tools(caller: CurrentCaller) -> dict[str, Any]:
    """The tools that the caller may call."""
    tools = await caller.services.factory.create_tools(_tool_context(caller))
    return {"tools": [{"name": tool.name, "description": tool.description} for tool in tools.available()]}


async def execute_tool(caller: CurrentCaller, body: ToolBody) -> dict[str, Any]:
    """Call one tool with the caller's own rights."""
    await caller.ensure_profile()
    tools = await caller.services.factory.create_tools(_tool_context(caller))
    outcome = await tools.execute_tool(body.tool_name, body.parameters)
    await tools.cleanup()
    if outcome.refusal is not None:
        raise outcome.refusal
    return {"tool_name": outcome.tool_name, "success": True, "result": outcome.result}


def _tool_context(caller: CurrentCaller) -> UserExecutionContext:
    return caller.services.chat.context_of(caller.principal)
