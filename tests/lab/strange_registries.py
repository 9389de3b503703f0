"""Registries that are not like the lab's, for processes that investigate whatever a path names."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any


class Plain:
    """Only what every platform has, and that is right."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._agents: dict[str, list[Any]] = {}

    def get_user_session(self, user_id: str) -> Any:
        return SimpleNamespace(user_id=user_id)

    async def create_agent_for_user(self, user_id: str, agent_name: str, context: Any, **more: Any) -> Any:
        agent = await self._factory.create_agent_instance(agent_name, context, **more)
        self._agents.setdefault(user_id, []).append(agent)
        return agent

    async def cleanup_user_session(self, user_id: str) -> None:
        for agent in self._agents.pop(user_id, []):
            await agent.cleanup()


class Synchronous(Plain):
    """Returns agents at once: there is nothing to await."""

    def create_agent_for_user(self, user_id: str, agent_name: str, context: Any, **more: Any) -> Any:
        return SimpleNamespace(context=context)


class NeedsMore(Plain):
    """Cannot be made without a socket manager."""

    def __init__(self, factory: Any, websocket_manager: Any) -> None:
        super().__init__(factory)


class Raising(Plain):
    """Cannot be made at all."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise OSError("no place for a registry")


class Endless(Plain):
    """Never comes back with an agent."""

    async def create_agent_for_user(self, user_id: str, agent_name: str, context: Any, **more: Any) -> Any:
        await asyncio.Event().wait()
