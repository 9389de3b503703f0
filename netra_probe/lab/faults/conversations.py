"""Faults of conversations (X7): the runs of one user meet in a place that belongs to the user, or to the connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


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
