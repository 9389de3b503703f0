"""Faults of agents (G): what belongs to one run is kept where other runs find it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from netra_probe.lab.backend.llm_manager import likeness
from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import Fault, Parts, register

STARTING_SECONDS = 0.3
"""How long G1 takes to start a run, unless another one starts meanwhile."""

MEMORY_SECONDS = 3600
REMEMBERED_REQUESTS = 5


@register
class AgentSingleton(Fault):
    """G1: the specialists keep the request that they work on in one place, not in the run.

    Incident: one agent object for all requests, with ``self.request = …`` at the start of ``run()``: fine until two
        runs overlap.
    """

    id = "G1"
    layer = "agents"
    title = "agent singleton with the request as state"
    breaks = "SpecialistAgent"
    trigger = "A and B start runs at the same instant on one backend (overlap of about 50 ms)"
    symptom = "A's answer (partial_result, agent_completed, final_report) is to B's question, word for word"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace each agent that answers by one that shares its task with all others."""
        latest: list[Any] = []
        starting = Meeting(seconds=STARTING_SECONDS)
        parts["agents"] = {
            name: self._sharing(agent, latest, starting) if hasattr(agent, "_answer") else agent
            for name, agent in parts["agents"].items()
        }

    def _sharing(self, healthy: type[Any], latest: list[Any], starting: Meeting) -> type[Any]:
        fault = self

        class SharedTaskAgent(healthy):  # type: ignore[misc]
            async def run(self, task: Any) -> Any:
                latest[:] = [task]
                await starting.join("a run")
                return await super().run(task)

            async def _answer(self, task: Any, gathered: dict[str, Any], recommendations: list[str]) -> str:
                fault.reached()
                if latest[0] is not task and fault.fires():
                    fault.triggered()
                    task = latest[0]
                answer: str = await super()._answer(task, gathered, recommendations)
                return answer

        return SharedTaskAgent


class LabelMemory:
    """What was asked before under a label, whoever asked it; the label of a thread is its title."""

    def __init__(self, redis: Any, user_id: str, threads: Any, healthy: Any, fault: Fault) -> None:
        self._redis = redis
        self._user_id = user_id
        self._threads = threads
        self._healthy = healthy
        self._fault = fault

    async def recall(self, thread_id: str) -> list[str]:
        """Earlier requests under this thread's label."""
        self._fault.reached()
        if not self._fault.fires():
            own: list[str] = await self._healthy.recall(thread_id)
            return own
        kept = [json.loads(entry) for entry in await self._redis.lrange(await self._key(thread_id), 0, -1)]
        if any(entry["user_id"] != self._user_id for entry in kept):
            self._fault.triggered()
        return [entry["request"] for entry in kept]

    async def remember(self, thread_id: str, request: str) -> None:
        """Add a request under this thread's label."""
        await self._healthy.remember(thread_id, request)
        key = await self._key(thread_id)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(key, json.dumps({"user_id": self._user_id, "request": request}, ensure_ascii=False))
            pipeline.ltrim(key, -REMEMBERED_REQUESTS, -1)
            pipeline.expire(key, MEMORY_SECONDS)
            await pipeline.execute()

    async def _key(self, thread_id: str) -> str:
        return f"thread_context:{(await self._threads.get(thread_id))['title']}"


@register
class MemoryByLabel(Fault):
    """G3: agents remember by the title of a thread, without its user.

    Incident: conversation memory under a session id that is a label ("default", a topic, an agent's name) and so the
        same for many users.
    """

    id = "G3"
    layer = "agents"
    title = "memory keyed by thread label only"
    breaks = "ThreadMemory (through DataAccessFactory)"
    trigger = "A runs to the end in a thread titled T (or untitled), then B runs in a thread of the same title"
    symptom = "B's answer repeats A's earlier requests; sequential suffices, any backend"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Hand out memories that are kept by label."""
        fault = self
        healthy: type[Any] = parts["DataAccessFactory"]

        class LabelledDataAccess(healthy):  # type: ignore[misc]
            def for_user(self, context: Any) -> Any:
                data = super().for_user(context)
                memory: Any = LabelMemory(self._redis, data.user_id, data.threads, data.memory, fault)
                return replace(data, memory=memory)

        parts["DataAccessFactory"] = LabelledDataAccess


@register
class CancelHitsNewest(Fault):
    """G4: a stop order cancels the newest run of the process instead of the one that it names.

    Incident: a "current task" attribute on a shared registry, set by each launch and cancelled by stop().
    """

    id = "G4"
    layer = "agents"
    title = "cancel hits the wrong run"
    breaks = "AgentRegistry.stop_agent"
    trigger = "A starts a run, B starts one after it, A sends stop_agent {run_id} (or {thread_id}) before both end"
    symptom = "B's run ends with agent_error CANCELLED, A's run goes on to final_report"
    checkers = ("C4", "C3")

    def install(self, parts: Parts) -> None:
        """Replace the registry by one that knows only which run is the newest."""
        fault = self
        healthy: type[Any] = parts["AgentRegistry"]

        class CurrentTaskRegistry(healthy):  # type: ignore[misc]
            _running: tuple[asyncio.Task[None], ...] = ()

            def launch(self, user_context: Any, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                task: asyncio.Task[None] = super().launch(user_context, work)
                self._running = (*(other for other in self._running if not other.done()), task)
                return task

            def stop_agent(self, user_id: str, run_id: str) -> bool:
                fault.reached()
                running = [task for task in self._running if not task.done()]
                if not running or running[-1].get_name() == run_id or not fault.fires():
                    stopped: bool = super().stop_agent(user_id, run_id)
                    return stopped
                fault.triggered()
                return running[-1].cancel()

        parts["AgentRegistry"] = CurrentTaskRegistry


@register
class CompletionsByQuestion(Fault):
    """G5: kept completions are found again by the question alone.

    Incident: a semantic cache in front of the model without the user in its key, so that "where do I overspend?" is
        answered with somebody else's figures (vllm-project/semantic-router#1448).
    """

    id = "G5"
    layer = "agents"
    title = "completion cache keyed by the question alone"
    breaks = "LLMManager"
    trigger = "A asks a question to the end, then B asks the identical question within 30 s, any backend"
    symptom = "B is given A's completion, with A's figures and name; the first asker's for everybody until the TTL"
    checkers = ("C1", "C11")

    def sameness(self, question: str) -> str:
        """What questions must have in common to be answered alike."""
        return question

    def install(self, parts: Parts) -> None:
        """Key the cache by the question, and keep beside each completion whose it is, to count honestly."""
        fault = self
        healthy: type[Any] = parts["LLMManager"]

        class SharedCompletions(healthy):  # type: ignore[misc]
            def cache_key(self, prompt: str, system: str) -> str:
                question = json.dumps([system, fault.sameness(prompt.partition("\n")[0])])
                return f"llm_cache:{hashlib.sha256(question.encode()).hexdigest()}"

            async def _kept(self, key: str) -> list[str] | None:
                fault.reached()
                kept: list[str] | None = await super()._kept(key)
                if kept is None:
                    return None
                whose, *pieces = kept
                if whose != self.user_context.user_id:
                    if not fault.fires():
                        return None
                    fault.triggered()
                return pieces

            async def _keep(self, key: str, pieces: list[str]) -> None:
                await super()._keep(key, [self.user_context.user_id, *pieces])

        parts["LLMManager"] = SharedCompletions


@register
class CompletionsByLikeness(CompletionsByQuestion):
    """G7: kept completions are found again by the likeness of questions, whoever asked.

    Incident: a semantic cache that compares embeddings over all tenants (vllm-project/semantic-router#1448,
        litellm#19575); that no two questions are equal does not help.
    """

    id = "G7"
    title = "similarity cache without a user filter"
    trigger = "A asks a question to the end, then B asks the same in other words within 30 s, any backend"
    symptom = "B is given A's completion to A's wording, with A's figures and name"

    def sameness(self, question: str) -> str:
        """Order, case, punctuation and fillers do not count."""
        return likeness(question)
