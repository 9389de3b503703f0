"""AgentRegistry: which agents work for which user, from their creation to their end.

session = registry.get_user_session(user_id)
agent = await registry.create_agent_for_user(user_id, "triage", context)
await registry.cleanup_user_session(user_id)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.lab.backend.agents.agent import Agent, Equipment
from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.errors import Forbidden, NotFound, RateLimited
from netra_probe.lab.backend.llm_manager import LLMManager
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.tools import Tool, ToolExecutionEngine, UnifiedToolDispatcher
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter

MakeEmitter = Callable[[UserExecutionContext], UserWebSocketEmitter]
MakeModel = Callable[[UserExecutionContext], LLMManager]


class AgentInstanceFactory:
    """Holds only what is the same for all users."""

    def __init__(
        self,
        *,
        agents: Mapping[str, type[Agent]],
        tools: Iterable[Tool],
        engine: ToolExecutionEngine,
        data_access: DataAccessFactory,
        make_emitter: MakeEmitter,
        make_model: MakeModel,
        dispatcher: type[UnifiedToolDispatcher] = UnifiedToolDispatcher,
    ) -> None:
        self._agents = agents
        self._tools = tuple(tools)
        self._engine = engine
        self._data_access = data_access
        self._make_emitter = make_emitter
        self._make_model = make_model
        self._dispatcher = dispatcher

    def agent_names(self) -> tuple[str, ...]:
        """The agents that can be made."""
        return tuple(self._agents)

    def make_emitter(self, user_context: UserExecutionContext) -> UserWebSocketEmitter:
        """The emitter of one run; all agents of the run share it, since they share its numbering."""
        return self._make_emitter(user_context)

    async def create_agent_instance(
        self, agent_name: str, user_context: UserExecutionContext, *, emitter: UserWebSocketEmitter | None = None
    ) -> Agent:
        """A new agent for this context.

        Raises:
            NotFound: there is no agent of this name.
        """
        agent_class = self._agents.get(agent_name)
        if agent_class is None:
            raise NotFound("There is no such agent.")
        user_context.verify_isolation()
        emitter = emitter or self._make_emitter(user_context)
        tools = await self.create_tools(user_context, emitter=emitter)
        equipment = Equipment(
            emitter=emitter,
            tools=tools,
            llm=self._make_model(user_context),
            data=self._data_access.for_user(user_context),
        )
        return agent_class(user_context, equipment)

    async def create_tools(
        self, user_context: UserExecutionContext, *, emitter: UserWebSocketEmitter | None = None
    ) -> UnifiedToolDispatcher:
        """The tools of one request, with the permissions that its context carries."""
        permissions: Any = user_context.agent_context.get("permissions", ())
        return await self._dispatcher.create_for_user(
            user_context,
            engine=self._engine,
            tools=self._tools,
            permissions=tuple(permissions),
            emitter=emitter,
        )


@dataclass(kw_only=True)
class UserAgentSession:
    """The work of one user in this process: agents by run, and the tasks that carry the runs."""

    user_id: str
    agents: dict[str, list[Agent]] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"UserAgentSession(runs={len(self.tasks)})"

    @property
    def idle(self) -> bool:
        """Nothing is kept for this user."""
        return not self.agents and not self.tasks


class AgentRegistry:
    """Sessions are made when a user needs one and forgotten when the last run has ended."""

    def __init__(self, factory: AgentInstanceFactory, *, limits: Limits) -> None:
        self._factory = factory
        self._limits = limits
        self._sessions: dict[str, UserAgentSession] = {}
        self.shutting_down = False

    @property
    def factory(self) -> AgentInstanceFactory:
        """What makes the agents."""
        return self._factory

    def get_user_session(self, user_id: str) -> UserAgentSession:
        """The session of one user."""
        return self._sessions.setdefault(user_id, UserAgentSession(user_id=user_id))

    async def create_agent_for_user(
        self,
        user_id: str,
        agent_name: str,
        user_context: UserExecutionContext,
        *,
        emitter: UserWebSocketEmitter | None = None,
    ) -> Agent:
        """A fresh agent, entered under its user and run.

        Raises:
            Forbidden: the context belongs to another user.
            NotFound: there is no such agent.
        """
        if user_context.user_id != user_id:
            raise Forbidden("The context belongs to another user; no agent was made.")
        agent = await self._factory.create_agent_instance(agent_name, user_context, emitter=emitter)
        self.get_user_session(user_id).agents.setdefault(user_context.run_id, []).append(agent)
        return agent

    def launch(self, user_context: UserExecutionContext, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Carry a run in a task of its own, found again by user and run id.

        Raises:
            RateLimited: the user has too many runs at once.
        """
        session = self.get_user_session(user_context.user_id)
        if len(session.tasks) >= self._limits.concurrent_runs:
            work.close()
            raise RateLimited("Too many of your runs are in progress; wait for one to end.", retry_after=1.0)
        run_id = user_context.run_id
        task = asyncio.create_task(self._carry(session, run_id, work), name=run_id)
        session.tasks[run_id] = task

        def forget(_: asyncio.Task[None]) -> None:
            work.close()  # no effect unless the task was cancelled before its first step
            session.tasks.pop(run_id, None)
            self._forget_if_idle(session)

        task.add_done_callback(forget)
        return task

    def stop_agent(self, user_id: str, run_id: str) -> bool:
        """Cancel one run of this user in this process; False when it is not here."""
        session = self._sessions.get(user_id)
        task = None if session is None else session.tasks.get(run_id)
        return task is not None and task.cancel()

    async def cleanup_user_session(self, user_id: str) -> None:
        """Cancel all runs of one user here and wait until they have ended."""
        session = self._sessions.get(user_id)
        if session is None:
            return
        tasks = list(session.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run_id in list(session.agents):
            await self._end_run(session, run_id)

    async def close(self) -> None:
        """Cancel everything, at the end of the process."""
        self.shutting_down = True
        await asyncio.gather(*(self.cleanup_user_session(user_id) for user_id in list(self._sessions)))

    def health(self) -> dict[str, int]:
        """Counts over all users."""
        return {
            "users": len(self._sessions),
            "runs": sum(len(session.tasks) for session in self._sessions.values()),
            "agents": sum(len(agents) for s in self._sessions.values() for agents in s.agents.values()),
        }

    async def _carry(self, session: UserAgentSession, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            await self._end_run(session, run_id)

    async def _end_run(self, session: UserAgentSession, run_id: str) -> None:
        for agent in session.agents.pop(run_id, []):
            await agent.cleanup()
        self._forget_if_idle(session)

    def _forget_if_idle(self, session: UserAgentSession) -> None:
        if session.idle and self._sessions.get(session.user_id) is session:
            del self._sessions[session.user_id]
