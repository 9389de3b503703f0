"""Event routers that are not like the lab's, for processes that investigate whatever a path names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


class Plain:
    """Only what every platform has, and that is right."""

    def __init__(self, *, redis: Any, log: Any, hub: Any, backend: str) -> None:
        self._log = log
        self._owners: dict[str, str] = {}

    async def register_connection(self, user_id: str, connection_id: str) -> None:
        self._owners[connection_id] = user_id

    async def route_event(self, user_id: str, connection_id: str, event: Mapping[str, Any]) -> int:
        if self._owners.get(connection_id, user_id) != user_id:
            raise PermissionError("not your connection")
        cursor: int = await self._log.append(user_id, event)
        return cursor


class Synchronous(Plain):
    """Nothing has to be awaited."""

    def register_connection(self, user_id: str, connection_id: str) -> None:  # type: ignore[override]
        self._owners[connection_id] = user_id


class OtherArguments(Plain):
    """Is made of something else."""

    def __init__(self, manager: Any) -> None:
        super().__init__(redis=None, log=None, hub=None, backend="")


class Raising(Plain):
    """Cannot be made at all."""

    def __init__(self, **parts: Any) -> None:
        raise OSError("no place for a router")


class Endless(Plain):
    """Does not come back from an event."""

    async def route_event(self, user_id: str, connection_id: str, event: Mapping[str, Any]) -> int:
        await asyncio.Event().wait()
        return 0
