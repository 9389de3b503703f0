"""Emitters made in this process, all over one router: each numbers one run, and sends it to one user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component import Component, Returned
from netra_probe.clients.component_fakes import EventSink, InMemoryCache
from netra_probe.forgery import REFUSED
from netra_probe.target.deployment import Mode
from netra_probe.workloads.components.fakes import (
    accepted_kwargs,
    begin,
    first_foreign,
    missing_of,
    own_context,
    run_of,
    settle,
)
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

CONTEXT, EMITTER, ROUTER = "UserExecutionContext", "UserWebSocketEmitter", "WebSocketEventRouter"
#: The events of a run that is broken off, and what they say.
_RUN: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("notify_agent_started", {"message": "I begin."}),
    ("notify_agent_thinking", {"thought": "I think.", "step_number": 1}),
    ("notify_tool_executing", {"tool_name": "who_is_asking", "parameters": {}}),
    ("notify_tool_completed", {"tool_name": "who_is_asking", "result": {}}),
    ("notify_agent_error", {"error_message": "The run was stopped.", "error_code": "CANCELLED"}),
)
_AGENT = "triage"


@dataclass(frozen=True, kw_only=True)
class _EmitterFixture:
    """Where everybody's emitters are made: the classes, one router for all, and the box that it puts events into."""

    probe: Investigation
    contexts: Component
    emitters: Component
    router: Any
    box: EventSink

    async def emitter(self, user: User, *, connection: User) -> Any:
        """An emitter for a run of one user, over a connection of (perhaps another) one; None where none can be made."""
        context = await own_context(self.contexts, user)
        if not isinstance(context, Returned):
            return None
        made = self.emitters.construct(context.value, self.router, _connection_of(connection), by=user.name)
        return made.value if isinstance(made, Returned) else None

    async def say(self, user: User, emitter: Any, event: int) -> bool:
        """One of the events of a run; whether the emitter took it."""
        method, words = _RUN[event]
        said = accepted_kwargs(self.emitters, method, words)
        return bool(await self.emitters.call(method, _AGENT, on=emitter, by=user.name, **said))


@workload(Mode.PROBE, "making emitters", title="Emitters in this process")
async def make_emitters(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Have the platform's own ``UserWebSocketEmitter`` and ``WebSocketEventRouter`` work for everybody in this process.

    >>> await make_emitters(probe)   # doctest: +SKIP
    Emitters in this process (alice, bob, carol): 3 made, 15 events, 15 addressed to their user, 3 in order, …

    All runs go on at once, over one router. What is emitted after a run's last event is refused, and an emitter that
    names a connection of somebody else reaches nobody but its own user. Recorded as attempts on the surface
    ``component``: ``checkers.tokens`` judges whom an event was addressed to.
    """
    party = list(users) or probe.users
    contexts, emitters = probe.component(CONTEXT), probe.component(EMITTER)
    if missing := missing_of((contexts, "from_request", ()), (emitters, "__init__", ())):
        return Outcome(users=names(party), missing=missing)
    box = EventSink()
    router = await _router(probe, box, party)
    desk = _EmitterFixture(probe=probe, contexts=contexts, emitters=emitters, router=router, box=box)
    made = [(user, await desk.emitter(user, connection=user)) for user in party]
    held = [(user, emitter) for user, emitter in made if emitter is not None]
    emitted = sum(await probe.together(_whole_run(desk, user, emitter) for user, emitter in held))
    runs = {user.name: box.of_run(run_of(user)) for user in party}
    counts = {
        "made": len(held),
        "events": emitted,
        "addressed to their user": sum(letter.user_id == user.id for user in party for letter in runs[user.name]),
        "in order": sum(_is_in_order(letters) for letters in runs.values()),
    }
    refused = [await _too_late(desk, user, emitter) for user, emitter in held]
    neighbours = [(user, party[(number + 1) % len(party)]) for number, user in enumerate(party)]
    elsewhere = [await _over_foreign(desk, user, other) for user, other in neighbours if other is not user]
    return Outcome(
        users=names(party),
        counts=counts
        | {"after the end": len(refused), "refused": sum(refused)}
        | {"over foreign connections": len(elsewhere), "kept from them": sum(elsewhere)},
    )


async def _router(probe: Investigation, box: EventSink, party: Sequence[User]) -> Any:
    """The platform's router with everybody's connection in it, before the box; the box alone where none is made."""
    routers = probe.component(ROUTER)
    if missing_of((routers, "register_connection", ()), (routers, "route_event", ()), (routers, "__init__", ("log",))):
        return box
    offers = {"redis": InMemoryCache(), "log": box, "hub": None, "backend": "this-process"}
    made = routers.construct(**accepted_kwargs(routers, "__init__", offers))
    if not isinstance(made, Returned):
        return box
    for user in party:
        await routers.call("register_connection", user.id, _connection_of(user), on=made.value, by=user.name)
    return made.value


async def _whole_run(desk: _EmitterFixture, user: User, emitter: Any) -> int:
    """All events of a run, as the positive control; how many the emitter took."""
    call = begin(desk.probe, user, "own events", phase=EMITTER, expect=user.name, control=True)
    said = [await desk.say(user, emitter, event) for event in range(len(_RUN))]
    addressed = [letter.user_id for letter in desk.box.of_run(run_of(user))]
    settle(desk.probe, call, first_foreign(user.id, *addressed) if addressed else None)
    return sum(said)


async def _too_late(desk: _EmitterFixture, user: User, emitter: Any) -> bool:
    """One more event after the last one of a run; whether nothing came of it."""
    call = begin(desk.probe, user, "an event after the last one", phase=EMITTER, expect=REFUSED)
    before = len(desk.box.of_run(run_of(user)))
    await desk.say(user, emitter, 1)
    late = desk.box.of_run(run_of(user))[before:]
    settle(desk.probe, call, late[0].user_id if late else "")
    return not late


async def _over_foreign(desk: _EmitterFixture, user: User, other: User) -> bool:
    """An emitter of one user's that names a connection of another's; whether that one gets nothing of it."""
    call = begin(desk.probe, user, "another user’s connection", phase=EMITTER, expect=user.name)
    before = len(desk.box.letters)
    emitter = await desk.emitter(user, connection=other)
    if emitter is not None:
        await desk.say(user, emitter, 0)
    addressed = [letter.user_id for letter in desk.box.letters[before:]]
    settle(desk.probe, call, first_foreign(user.id, *addressed) if addressed else "")
    return other.id not in addressed


def _is_in_order(letters: Sequence[Any]) -> bool:
    """Whether a run's events are numbered from 1 in the order in which they came."""
    return [letter.event.get("seq") for letter in letters] == list(range(1, len(letters) + 1))


def _connection_of(user: User) -> str:
    return f"connection-of-{user.name}"
