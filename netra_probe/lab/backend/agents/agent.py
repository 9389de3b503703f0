"""Agent: one worker for one request of one user; an instance is never used twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from netra_probe.lab.backend.data_access_factory import UserData
from netra_probe.lab.backend.llm_manager import LLMManager
from netra_probe.lab.backend.unified_tool_dispatcher import UnifiedToolDispatcher
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What an agent works with; all of it was made for the agent's own context."""

    emitter: UserWebSocketEmitter
    tools: UnifiedToolDispatcher
    llm: LLMManager
    data: UserData


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the user wants."""

    request: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an agent came to: the agent to go on with, or an answer with the data it rests on."""

    hand_over_to: str | None = None
    answer: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)


class Agent:
    """Base of all agents."""

    name: ClassVar[str] = "agent"

    def __init__(self, context: UserExecutionContext, equipment: Equipment) -> None:
        self.context = context
        self.equipment = equipment

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.context.run_id})"

    async def run(self, task: Task) -> Outcome:
        """Do the work."""
        raise NotImplementedError(f"agent {self.name} must define run(task)")

    async def cleanup(self) -> None:
        """Give back what the agent was given."""
        await self.equipment.tools.cleanup()
