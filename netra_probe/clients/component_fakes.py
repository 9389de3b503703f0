"""What components of this process are furnished with: a box for letters, a shelf, data, tools.

A component that is made by hand needs neighbours. These are the probe's own: each does what its neighbour asks of it,
so that of whatever comes out one can say whose it is.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Seconds that a tool waits for the other callers, so that their calls surely overlap.
MEETING = 0.5


@dataclass(frozen=True, kw_only=True)
class RecordedEvent:
    """One event, and the user that it was addressed to."""

    user_id: str
    event: Mapping[str, Any]


class EventSink:
    """Takes events as a router does, or as the log behind one, and delivers them to nobody."""

    def __init__(self) -> None:
        self.letters: list[RecordedEvent] = []

    async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
        """What an emitter calls."""
        return await self.append(user_id, event)

    async def append(self, user_id: str, event: Mapping[str, Any]) -> int:
        """What a router calls; returns the number of letters so far."""
        # Others get a turn between any two events, as they do where sending takes time.
        await asyncio.sleep(0)
        self.letters.append(RecordedEvent(user_id=user_id, event=event))
        return len(self.letters)

    def of_run(self, run_id: str) -> list[RecordedEvent]:
        """The letters of one run, in the order in which they came."""
        return [letter for letter in self.letters if letter.event.get("run_id") == run_id]


class InMemoryCache:
    """What components keep in a cache that all of them share."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        """What was kept under a key."""
        return self._kept.get(key)

    async def set(self, key: str, value: Any, *, ex: float | None = None) -> None:
        """Keep a value; nothing here grows old."""
        self._kept[key] = value

    async def hset(self, key: str, name: str, value: Any) -> None:
        """Keep one of several values under a key."""
        self._kept.setdefault(key, {})[name] = value

    async def hdel(self, key: str, *names: str) -> None:
        """Forget some of the values under a key."""
        for name in names:
            self._kept.get(key, {}).pop(name, None)

    async def hgetall(self, key: str) -> dict[str, Any]:
        """All values under a key."""
        return dict(self._kept.get(key, {}))

    async def scan_iter(self, match: str, **more: Any) -> AsyncIterator[str]:
        """The keys that a pattern matches."""
        for key in fnmatch.filter(list(self._kept), match):
            yield key


@dataclass(frozen=True, kw_only=True)
class UserData:
    """One user's data, and the book in which the use of tools is entered."""

    user_id: str
    runs: Any


class FakeDataAccess:
    """Opens each user's data for a context."""

    def for_user(self, context: Any) -> UserData:
        """What belongs to the context's user."""
        return UserData(user_id=str(getattr(context, "user_id", "")), runs=self)

    async def record_tool_use(self, run_id: str, **used: Any) -> None:
        """A use is entered, which takes a moment; nobody reads it here."""
        await asyncio.sleep(0)


@dataclass(kw_only=True)
class Barrier:
    """Callers wait here until all of them have come, or for a moment at most."""

    size: int
    _here: int = 0
    _all_here: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Come, and wait for the others."""
        self._here += 1
        if self._here >= self.size:
            self._all_here.set()
        try:
            async with asyncio.timeout(MEETING):
                await self._all_here.wait()
        except TimeoutError:
            return  # An engine that lets in one at a time is slow, and no leak.


@dataclass(frozen=True, kw_only=True)
class NamingTool:
    """A tool that says whose call it was, and whose data it was given."""

    name: str
    meeting: Barrier
    permission: str | None = None
    description: str = "says who is asking"
    run: Any = None

    @classmethod
    def called(cls, name: str, *, meeting: Barrier, permission: str | None = None) -> NamingTool:
        """One of this name; ``permission`` is what a caller must hold."""

        async def run(call: Any) -> dict[str, Any]:
            await meeting.wait()
            return {"caller": call.context.user_id, "data": call.data.user_id, "note": call.parameters.get("note")}

        return cls(name=name, meeting=meeting, permission=permission, run=run)
