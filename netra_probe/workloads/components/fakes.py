"""What components of this process are furnished with: a box for letters, a shelf, a model that counts, data, tools.

A component that is made by hand needs neighbours. These are the probe's own: each does what its neighbour asks of it,
so that of whatever comes out one can say whose it is.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from netra_probe.clients.component import Absent, CallResult, Component, Returned
from netra_probe.history import actions
from netra_probe.history.operation import Operation

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


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


class CountingModel(httpx.AsyncBaseTransport):
    """A language model that answers every request with another number: who gets the same one shares an answer."""

    def __init__(self) -> None:
        self._answers = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer in the form of a stream."""
        self._answers += 1
        said = json.dumps({"choices": [{"delta": {"content": f"answer {self._answers}"}}]})
        return httpx.Response(200, text=f"data: {said}\n\ndata: [DONE]\n\n")


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


def accepted_kwargs(component: Component, method: str, offers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offers that a method of the component takes by name."""
    return {name: value for name, value in offers.items() if component.takes(method, name)}


def begin(probe: Investigation, user: User, name: str, *, phase: str, expect: str, control: bool = False) -> Operation:
    """An attempt on a component begins; ``phase`` names the component, ``expect`` whose the result must be."""
    detail = {"attempt": name, "expect": expect, "control": control, "phase": phase}
    return probe.history.invoke(
        actions.ATTEMPT, user=user.name, connection=f"{user.name}/component", surface="component", detail=detail
    )


def end(probe: Investigation, call: Operation, came: CallResult, who: str) -> None:
    """It has ended, with something of the user whose id ``who`` is, where something came."""
    if isinstance(came, Returned):
        settle(probe, call, who or "nobody")
    else:
        # What cannot be called at all was neither done nor refused.
        settle(probe, call, None if isinstance(came, Absent) else "")


async def own_context(contexts: Component, user: User) -> CallResult:
    """A context of the user's, for one thread and one run of this process."""
    thread, run = f"thread-of-{user.name}", run_of(user)
    return await contexts.call("from_request", user_id=user.id, thread_id=thread, run_id=run, by=user.name)


def run_of(user: User) -> str:
    """The id of the user's run in this process."""
    return f"run-of-{user.name}"


def settle(probe: Investigation, call: Operation, who: str | None) -> None:
    """The attempt has ended with something of the user ``who``, with a refusal (``""``), or with neither (``None``)."""
    if who:
        probe.history.complete(call, "ok", ids={"user_id": who})
    else:
        probe.history.complete(call, "info" if who is None else "fail")


def missing_of(*wanted: tuple[Component, str, tuple[str, ...]]) -> str:
    """What keeps an act from being done in this process: the first call that is not there, or takes other arguments."""
    for component, method, parameters in wanted:
        if not component.takes(method, *parameters):
            return str(component.differences[0]) if component.differences else _without(component, method, parameters)
    return ""


def _without(component: Component, method: str, parameters: tuple[str, ...]) -> str:
    return f"{component.name}.{method}({', '.join(parameters)})"


def first_foreign(owner: str, *ids: str) -> str:
    """Whose something is that should be ``owner``'s through and through: the first other id, or the owner's."""
    return next((id for id in ids if id != owner), owner)


def user_id_of(context: object) -> str:
    """The user id that a context holds; "" where it shows none."""
    whose = getattr(context, "user_id", "")
    return whose if isinstance(whose, str) else ""
