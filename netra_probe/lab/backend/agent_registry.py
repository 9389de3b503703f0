"""AgentRegistry: which agents work for which user, from their creation to their end.

session = registry.get_user_session(user_id)
agent = await registry.create_agent_for_user(user_id, "triage", context)
await registry.cleanup_user_session(user_id)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from netra_probe.lab.backend.agents.agent import Agent, Equipment
from netra_probe.lab.backend.errors import Conflict, DependencyDown, Forbidden, NotFound, RateLimited
from netra_probe.lab.backend.tools import Tool, ToolExecutionEngine, UnifiedToolDispatcher
from netra_probe.lab.backend.user_execution_context import UserExecutionContext
from netra_probe.lab.backend.user_websocket_emitter import UserWebSocketEmitter

if TYPE_CHECKING:
    from netra_probe.lab.backend.data_access_factory import DataAccessFactory
    from netra_probe.lab.backend.llm_manager import LLMManager
    from netra_probe.lab.backend.settings import Limits

MakeEmitter = Callable[[UserExecutionContext], UserWebSocketEmitter]
MakeModel = Callable[[UserExecutionContext], "LLMManager"]

log = logging.getLogger(__name__)

OVERDUE = "overdue"
"""What a run is cancelled with that has taken too long."""


class AgentInstanceFactory:
    """Makes agents; holds only what is the same for all users.

    - **Registration.** A name stands for one class for as long as the factory lives, and no two factories share their
      names. Registering another class under a name is refused and logged.
    - **Isolation.** Every agent is new, with the context that it was asked for, and shares nothing with an agent of
      another run. A context that shares something with another user is refused before anything is made.
    - **Events.** The agents of a run send through its one emitter, to the run's user. No agent is made whose events
      cannot be sent; that is logged.
    - **Tools.** Tool events go out through the emitter of the run that calls the tool, under its own id. When the run
      is over its tools refuse.
    """

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
        self._agents = dict(agents)
        self._tools = tuple(tools)
        self._engine = engine
        self._data_access = data_access
        self._make_emitter = make_emitter
        self._make_model = make_model
        self._dispatcher = dispatcher

    def agent_names(self) -> tuple[str, ...]:
        """The agents that can be made."""
        return tuple(self._agents)

    def register(self, agent_name: str, agent_class: type[Agent]) -> None:
        """Let agents of this class be made under a name from now on.

        Raises:
            Conflict: the name stands for another class.
        """
        known = self._agents.setdefault(agent_name, agent_class)
        if known is not agent_class:
            log.warning("agent %s stays %s; %s was refused", agent_name, known.__name__, agent_class.__name__)
            raise Conflict(f"The agent {agent_name} is registered already; nothing was changed.")

    def make_emitter(self, user_context: UserExecutionContext) -> UserWebSocketEmitter:
        """The emitter of one run; all agents of the run share it, since they share its numbering.

        Raises:
            DependencyDown: there is none.
        """
        emitter: UserWebSocketEmitter | None = self._make_emitter(user_context)
        if emitter is None:
            log.warning("run %s has no emitter: no agent was made", user_context.run_id)
            raise DependencyDown("The events of this run cannot be sent; no agent was made.")
        return emitter

    async def create_agent_instance(
        self, agent_name: str, user_context: UserExecutionContext, *, emitter: UserWebSocketEmitter | None = None
    ) -> Agent:
        """A new agent for this context.

        Raises:
            NotFound: there is no agent of this name.
            ContextIsolationError: the context shares something with another request.
            DependencyDown: the events of its run cannot be sent.
        """
        agent_class = self._agents.get(agent_name)
        if agent_class is None:
            raise NotFound("There is no such agent.")
        user_context.verify_isolation()
        emitter = emitter or self.make_emitter(user_context)
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
    """Keeps what works for each user, until it has ended.

    - **Contexts.** An agent is made for its user's own context only. Nothing of a context is kept when its run or its
      user's session has ended. Cleaning up one user's session touches nobody else's. An agent whose clean-up fails is
      logged, and the others are cleaned up.
    - **Lifecycle.** An agent is cleaned up once, when its run is over, however that ended. A run that fails is logged
      and counted, and gives its place back once.
    - **Concurrency.** Runs share nothing. Each user has a number of runs of their own; one more is refused, and starts
      nothing.
    - **Clean-up.** A session is forgotten with its last run; whoever only looks leaves nothing behind. A run that does
      not end when it is cancelled loses its agents, is logged, and stays counted until it ends.
    - **Sockets.** Agents belong to a run, not to a connection: a user who comes back gets the rest. A run that is
      stopped sends its end and nothing more.
    - **Health.** The counts are those of this moment. A run that takes longer than its limit is ended once, for its own
      user, logged and counted; it is never started again.
    """

    def __init__(self, factory: AgentInstanceFactory, *, limits: Limits) -> None:
        self._factory = factory
        self._limits = limits
        self._sessions: WeakValueDictionary[str, UserAgentSession] = WeakValueDictionary()
        #: Those for which something works; the others last as long as somebody holds them.
        self._busy: dict[str, UserAgentSession] = {}
        self._failed = self._overdue = 0
        self.shutting_down = False

    @property
    def factory(self) -> AgentInstanceFactory:
        """What makes the agents."""
        return self._factory

    def get_user_session(self, user_id: str) -> UserAgentSession:
        """The session of one user."""
        return self._sessions.setdefault(user_id, UserAgentSession(user_id=user_id))

    def _enter(self, user_id: str) -> UserAgentSession:
        return self._busy.setdefault(user_id, self.get_user_session(user_id))

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
            log.warning("an agent for run %s was asked for in another user's name", user_context.run_id)
            raise Forbidden("The context belongs to another user; no agent was made.")
        agent = await self._factory.create_agent_instance(agent_name, user_context, emitter=emitter)
        self._enter(user_id).agents.setdefault(user_context.run_id, []).append(agent)
        return agent

    def launch(self, user_context: UserExecutionContext, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Carry a run in a task of its own, found again by user and run id.

        Raises:
            RateLimited: the user has too many runs at once.
        """
        session = self._enter(user_context.user_id)
        if len(session.tasks) >= self._limits.concurrent_runs:
            work.close()
            self._forget_if_idle(session)
            raise RateLimited("Too many of your runs are in progress; wait for one to end.", retry_after=1.0)
        run_id = user_context.run_id
        task = asyncio.create_task(self._carry(session, run_id, work), name=run_id)
        session.tasks[run_id] = task
        limit = asyncio.get_running_loop().call_later(self._limits.run_seconds, self._end_overdue, task)

        def forget(ended: asyncio.Task[None]) -> None:
            limit.cancel()
            if not ended.cancelled():
                ended.exception()  # it was logged; nobody has to ask for it
            work.close()  # no effect unless the task was cancelled before its first step
            session.tasks.pop(run_id, None)
            self._forget_if_idle(session)

        task.add_done_callback(forget)
        return task

    def stop_agent(self, user_id: str, run_id: str) -> bool:
        """Cancel one run of this user in this process; False when it is not here."""
        session = self._busy.get(user_id)
        task = None if session is None else session.tasks.get(run_id)
        return task is not None and task.cancel()

    async def cleanup_user_session(self, user_id: str) -> None:
        """Cancel all runs of one user here, wait until they have ended, and clean up their agents."""
        session = self._busy.get(user_id)
        if session is None:
            return
        tasks = list(session.tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            _, unended = await asyncio.wait(tasks, timeout=self._limits.cancel_seconds)
            for task in unended:
                log.warning("run %s was cancelled and does not end", task.get_name())
        for run_id in list(session.agents):
            await self._end_run(session, run_id)

    async def close(self) -> None:
        """Cancel everything, at the end of the process."""
        self.shutting_down = True
        await asyncio.gather(*(self.cleanup_user_session(user_id) for user_id in list(self._busy)))

    def health(self) -> dict[str, int]:
        """Counts over all users: what there is now, and what has failed or taken too long so far."""
        return {
            "users": len(self._busy),
            "runs": sum(len(session.tasks) for session in self._busy.values()),
            "agents": sum(len(agents) for session in self._busy.values() for agents in session.agents.values()),
            "failed": self._failed,
            "overdue": self._overdue,
        }

    async def _carry(self, session: UserAgentSession, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._failed += 1
            log.warning("run %s failed: %s", run_id, type(error).__name__)
            raise
        finally:
            await self._end_run(session, run_id)

    async def _end_run(self, session: UserAgentSession, run_id: str) -> None:
        for agent in session.agents.pop(run_id, []):
            try:
                await agent.cleanup()
            except Exception as error:
                log.warning("an agent of run %s was not cleaned up: %s", run_id, type(error).__name__)
        self._forget_if_idle(session)

    def _end_overdue(self, task: asyncio.Task[None]) -> None:
        self._overdue += 1
        log.warning("run %s took longer than %g s and is ended", task.get_name(), self._limits.run_seconds)
        task.cancel(OVERDUE)

    def _forget_if_idle(self, session: UserAgentSession) -> None:
        if session.idle and self._busy.get(session.user_id) is session:
            del self._busy[session.user_id]
