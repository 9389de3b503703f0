"""Agents: what each is given, the one that chooses a specialist, and the specialists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from netra_probe.lab.backend.tools import UnifiedToolDispatcher
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter

if TYPE_CHECKING:
    from netra_probe.lab.backend.data_access_factory import UserData
    from netra_probe.lab.backend.llm_manager import LLMManager


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
        """The run is over: give back what the agent was given."""
        self.equipment.emitter.close()
        await self.equipment.tools.cleanup()


MAX_REFERENCES = 5


class SpecialistAgent(Agent):
    """The same steps for all specialists, so that a run has the same number of events whoever answers."""

    name: ClassVar[str] = "general_specialist"
    instructions: ClassVar[str] = "You advise on AI workloads in general."

    async def run(self, task: Task) -> Outcome:
        """Gather, ask, stream and answer."""
        emitter = self.equipment.emitter
        await emitter.notify_agent_thinking(self.name, "I collect your own figures first.", step_number=2)
        gathered = await self._gather(task)
        await emitter.notify_agent_thinking(self.name, "I work out what your figures mean.", step_number=3)
        recommendations = recommend(gathered)
        answer = await self._answer(task, gathered, recommendations)
        report = {
            "request": task.request,
            "result": answer,
            "recommendations": recommendations,
            "data": gathered,
            "agents": ["triage", self.name],
        }
        return Outcome(answer=answer, report=report)

    async def _gather(self, task: Task) -> dict[str, Any]:
        tools = self.equipment.tools
        gathered: dict[str, Any] = {}
        for tool_name in ("user_profile", "spend_summary", "recent_messages"):
            gathered[tool_name] = (await tools.execute_tool(tool_name, agent_name=self.name)).result
        for thread_id in task.references[:MAX_REFERENCES]:
            outcome = await tools.execute_tool("thread_lookup", {"thread_id": thread_id}, agent_name=self.name)
            gathered.setdefault("references", []).append(outcome.result)
        return gathered

    async def _answer(self, task: Task, gathered: dict[str, Any], recommendations: list[str]) -> str:
        remembered = await self.equipment.data.memory.recall(self.context.thread_id)
        prompt = "\n".join(
            (
                f"Request: {task.request}",
                f"Earlier in this thread: {json.dumps(remembered, ensure_ascii=False)}",
                f"Data of the user: {json.dumps(gathered, ensure_ascii=False)}",
                "Recommendations: " + " ".join(recommendations),
            )
        )
        pieces: list[str] = []
        async for piece in self.equipment.llm.stream_llm(prompt, system=self.instructions):
            if pieces:
                await self._emit_piece(pieces, final=False)
            pieces.append(piece)
        if pieces:
            await self._emit_piece(pieces, final=True)
        return "".join(pieces)

    async def _emit_piece(self, pieces: list[str], *, final: bool) -> None:
        await self.equipment.emitter.notify_partial_result(self.name, pieces[-1], index=len(pieces) - 1, final=final)


class CostSpecialist(SpecialistAgent):
    """Answers questions about money."""

    name: ClassVar[str] = "cost_specialist"
    instructions: ClassVar[str] = "You find where money for AI workloads is wasted."


class PerformanceSpecialist(SpecialistAgent):
    """Answers questions about speed."""

    name: ClassVar[str] = "performance_specialist"
    instructions: ClassVar[str] = "You find what makes AI workloads slow."


def recommend(gathered: dict[str, Any]) -> list[str]:
    """Sentences about the largest items of the user's own spend, largest first."""
    records = gathered.get("spend_summary", {}).get("records", [])
    largest = sorted(records, key=lambda record: (-record["amount_usd"], record["service"]))[:2]
    return [
        f"Review {record['service']}: it costs {record['amount_usd']:.2f} USD; a smaller model or caching could "
        f"save about {record['amount_usd'] * 0.2:.2f} USD."
        for record in largest
    ] or ["Record what you spend, so that savings can be found."]


_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cost_specialist", ("cost", "spend", "budget", "bill", "expens", "price", "saving", "overspend")),
    ("performance_specialist", ("latency", "slow", "fast", "throughput", "performance", "speed")),
)
GENERALIST = "general_specialist"


class TriageAgent(Agent):
    """Emits ``agent_started`` and says whom it hands over to."""

    name: ClassVar[str] = "triage"

    async def run(self, task: Task) -> Outcome:
        """Choose a specialist by the words of the request."""
        await self.equipment.emitter.notify_agent_started(
            self.name, message="Your request is being looked at.", **self.context.agent_context.get("echo", {})
        )
        specialist = choose_specialist(task.request)
        await self.equipment.emitter.notify_agent_thinking(
            self.name,
            f"This is a question for the {specialist.replace('_', ' ')}.",
            step_number=1,
            hand_over_to=specialist,
        )
        return Outcome(hand_over_to=specialist)


def choose_specialist(request: str) -> str:
    """The specialist for a request; the first topic with a matching word wins."""
    lowered = request.lower()
    for specialist, words in _TOPICS:
        if any(word in lowered for word in words):
            return specialist
    return GENERALIST
