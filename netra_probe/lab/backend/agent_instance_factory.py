"""AgentInstanceFactory: a fresh agent, with fresh equipment, for each request.

agent = await factory.create_agent_instance("triage", context)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netra_probe.lab.backend.agents.agent import Agent, Equipment
from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.errors import NotFound
from netra_probe.lab.backend.llm_manager import LLMManager
from netra_probe.lab.backend.tool_execution_engine import ToolExecutionEngine
from netra_probe.lab.backend.tools import Tool
from netra_probe.lab.backend.unified_tool_dispatcher import UnifiedToolDispatcher
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
