"""UserWebSocketEmitter: the events of one run, to the one user whose run it is.

    emitter = UserWebSocketEmitter(context, router, connection_id)
    await emitter.notify_agent_started("triage")

Each event carries ``seq``, 1, 2, 3… within its run, so that a reader can prove that none is missing. After the run's
last event the emitter refuses further ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.shared.clock import clock


class Router(Protocol):
    """What an emitter needs of a router."""

    async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int: ...


class RunFinishedError(RuntimeError):
    """An event came after the run's last one."""


def now_iso() -> str:
    """UTC, ISO 8601, microseconds."""
    return clock.utc().isoformat()


def plain_event(kind: str, *, payload: Mapping[str, Any], thread_id: str | None = None) -> dict[str, Any]:
    """An event that belongs to no run, in the shape of all events."""
    return {
        "type": kind,
        "run_id": None,
        "thread_id": thread_id,
        "agent_name": None,
        "timestamp": now_iso(),
        "payload": dict(payload),
    }


class UserWebSocketEmitter:
    """Emits in order: each event is in its user's stream before the next one is numbered."""

    def __init__(self, context: UserExecutionContext, router: Router, connection_id: str | None = None) -> None:
        self.context = context
        self._router = router
        self._connection_id = connection_id
        self._seq = 0
        self._finished = False
        self._turn = asyncio.Lock()
        self._started = time.perf_counter()

    @property
    def finished(self) -> bool:
        """Whether there will be no further events."""
        return self._finished

    def close(self) -> None:
        """The run is over, whether its last event was sent or not: refuse further ones."""
        self._finished = True

    def continue_after(self, seq: int) -> None:
        """Go on numbering where another process stopped."""
        self._seq = seq

    async def notify_agent_started(self, agent_name: str, *, message: str, **extra: Any) -> None:
        """``agent_started``: the run has begun."""
        await self._emit("agent_started", agent_name, {"status": "started", "message": message, **extra})

    async def notify_agent_thinking(self, agent_name: str, thought: str, *, step_number: int, **extra: Any) -> None:
        """``agent_thinking``: what the agent is doing now."""
        await self._emit("agent_thinking", agent_name, {"thought": thought, "step_number": step_number, **extra})

    async def notify_tool_executing(self, agent_name: str, tool_name: str, parameters: Mapping[str, Any]) -> None:
        """``tool_executing``: a tool call begins."""
        await self._emit("tool_executing", agent_name, {"tool_name": tool_name, "parameters": dict(parameters)})

    async def notify_tool_completed(
        self, agent_name: str, tool_name: str, result: Any, *, success: bool = True, execution_time_ms: int = 0
    ) -> None:
        """``tool_completed``: a tool call ended; ``success`` is false when it was refused or failed."""
        payload = {
            "tool_name": tool_name,
            "result": result,
            "success": success,
            "execution_time_ms": execution_time_ms,
        }
        await self._emit("tool_completed", agent_name, payload)

    async def notify_partial_result(self, agent_name: str, content: str, *, index: int, final: bool) -> None:
        """``partial_result``: one piece of the answer; the pieces concatenate to the whole."""
        await self._emit("partial_result", agent_name, {"content": content, "index": index, "is_final": final})

    async def notify_agent_completed(self, agent_name: str, result: str, **extra: Any) -> None:
        """``agent_completed``: the answer is there."""
        payload = {
            "status": "completed",
            "result": result,
            "execution_time_ms": int((time.perf_counter() - self._started) * 1000),
            **extra,
        }
        await self._emit("agent_completed", agent_name, payload)

    async def notify_final_report(self, agent_name: str, report: Mapping[str, Any]) -> None:
        """``final_report``: last event of a run that succeeded."""
        await self._emit("final_report", agent_name, dict(report), last=True)

    async def notify_agent_error(
        self, agent_name: str, error_message: str, *, error_code: str, error_context: Mapping[str, Any] | None = None
    ) -> None:
        """``agent_error``: last event of a run that failed or was stopped; says what the user can do."""
        payload = {
            "status": "error",
            "error_code": error_code,
            "error_message": error_message,
            "error_context": dict(error_context or {}),
        }
        await self._emit("agent_error", agent_name, payload, last=True)

    async def _emit(self, kind: str, agent_name: str, payload: dict[str, Any], *, last: bool = False) -> None:
        async with self._turn:
            if self._finished:
                raise RunFinishedError(f"{kind} came after the last event of {self.context.run_id}")
            turn_id = self.context.agent_context.get("turn_id")
            if turn_id is not None:
                payload["turn_id"] = turn_id
            await self._send(self._event(kind, agent_name, payload))
            self._seq += 1
            self._finished = last

    def _event(self, kind: str, agent_name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": kind,
            "run_id": self.context.run_id,
            "thread_id": self.context.thread_id,
            "agent_name": agent_name,
            "timestamp": now_iso(),
            "seq": self._seq + 1,
            "payload": payload,
        }

    async def _send(self, event: Mapping[str, Any]) -> None:
        await self._router.route_event(self.context.user_id, self._connection_id, event)
