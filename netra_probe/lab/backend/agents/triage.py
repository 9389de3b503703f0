"""TriageAgent: opens the run and chooses who answers."""

from __future__ import annotations

from typing import ClassVar

from netra_probe.lab.backend.agents.agent import Agent, Outcome, Task

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
