"""One engine for the tools of all users, in this process, and a dispatcher for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component import CallResult, Component, Returned
from netra_probe.clients.component_fakes import Barrier, EventSink, FakeDataAccess, NamingTool
from netra_probe.forgery import REFUSED
from netra_probe.target.deployment import Mode
from netra_probe.workloads.components.fakes import (
    accepted_kwargs,
    begin,
    end,
    first_foreign,
    missing_of,
    own_context,
    run_of,
    settle,
    user_id_of,
)
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


ENGINE, EVENTS = "ToolExecutionEngine", "UserWebSocketEmitter"
_OPEN, _LOCKED = "who_is_asking", "who_may_do_everything"


@dataclass(frozen=True, kw_only=True)
class _Caller:
    """One user, with the dispatcher of a request of theirs."""

    user: User
    dispatcher: Any


@workload(Mode.PROBE, "calling tools in this process", title="Tool engine in this process")
async def share_an_engine(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Let everybody call the same tool in this process, in the same instant, by one ``ToolExecutionEngine``.

    >>> await share_an_engine(probe)   # doctest: +SKIP
    Tool engine in this process (alice, bob, carol): 3 called, 3 own results, …

    Each call waits in the middle for those of the others. Its result is its caller's, it is announced by a
    ``tool_executing`` and a ``tool_completed`` of that user's run, and a tool that asks for a permission does not run
    without it. Recorded as attempts on the surface ``component``: ``checkers.tokens`` judges whose a result, and
    the event that tells of it, is.
    """
    party = list(users) or probe.users
    contexts, engines = probe.component("UserExecutionContext"), probe.component(ENGINE)
    dispatchers = probe.component("UnifiedToolDispatcher")
    missing = missing_of(
        (contexts, "from_request", ()),
        (engines, "execute", ("tool", "context")),
        (dispatchers, "create_for_user", ("engine", "tools", "emitter")),
        (probe.component(EVENTS), "__init__", ()),
    )
    engine = (
        engines.construct(**accepted_kwargs(engines, "__init__", {"data_access": FakeDataAccess()}))
        if not missing
        else None
    )
    if not isinstance(engine, Returned):
        reason = missing or f"a {ENGINE} that can be made in this process"
        return Outcome(users=names(party), missing=reason)
    box, meeting = EventSink(), Barrier(size=len(party))
    tools = (
        NamingTool.called(_OPEN, meeting=meeting),
        NamingTool.called(_LOCKED, meeting=meeting, permission="everything"),
    )
    made = await probe.together(_caller(probe, contexts, user, box, engine.value, tools) for user in party)
    callers = [caller for caller in made if caller is not None]
    own = sum(await probe.together(_call(probe, dispatchers, caller) for caller in callers))
    told = sum(_told(probe, box, caller.user) for caller in callers)
    refused = [await _without_permission(probe, dispatchers, caller) for caller in callers]
    counts = {"called": len(callers), "own results": own, "with start and completion events": told}
    counts |= {"without permission": len(refused), "refused": sum(refused)}
    return Outcome(users=names(party), counts=counts)


async def _caller(
    probe: Investigation, contexts: Component, user: User, box: EventSink, engine: Any, tools: Sequence[NamingTool]
) -> _Caller | None:
    """A dispatcher of the user's over the common engine, whose events go into the box; None where none can be made."""
    emitters, dispatchers = probe.component(EVENTS), probe.component("UnifiedToolDispatcher")
    context = await own_context(contexts, user)
    if not isinstance(context, Returned):
        return None
    emitter = emitters.construct(context.value, box, None, by=user.name)
    if not isinstance(emitter, Returned):
        return None
    made = await dispatchers.call(
        "create_for_user", context.value, engine=engine, tools=tools, emitter=emitter.value, by=user.name
    )
    return _Caller(user=user, dispatcher=made.value) if isinstance(made, Returned) else None


async def _call(probe: Investigation, dispatchers: Component, caller: _Caller) -> bool:
    """A call that overlaps with everybody's, as the positive control; whether its result is the caller's."""
    user = caller.user
    call = begin(probe, user, "own tool", phase=ENGINE, expect=user.name, control=True)
    done = await dispatchers.call("execute_tool", _OPEN, {"note": user.id}, on=caller.dispatcher, by=user.name)
    whose = first_foreign(user.id, *_named(getattr(done.value, "result", None))) if isinstance(done, Returned) else ""
    end(probe, call, done, whose)
    return whose == user.id


def _told(probe: Investigation, box: EventSink, user: User) -> bool:
    """Whom the events of a call went to, and whose result they tell; whether they are a pair."""
    letters = box.of_run(run_of(user))
    call = begin(probe, user, "events of own tool", phase=EVENTS, expect=user.name, control=True)
    results = [letter.event.get("payload", {}).get("result") for letter in letters]
    told = [letter.user_id for letter in letters] + [id for result in results for id in _named(result)]
    settle(probe, call, first_foreign(user.id, *told) if letters else None)
    return [letter.event.get("type") for letter in letters] == ["tool_executing", "tool_completed"]


async def _without_permission(probe: Investigation, dispatchers: Component, caller: _Caller) -> bool:
    """A tool that asks for a permission which nobody here has; whether it did not run."""
    user = caller.user
    call = begin(probe, user, "a tool without its permission", phase=ENGINE, expect=REFUSED)
    done = await dispatchers.call("execute_tool", _LOCKED, {"note": user.id}, on=caller.dispatcher, by=user.name)
    ran = _named(getattr(done.value, "result", None)) if isinstance(done, Returned) else []
    settle(probe, call, first_foreign(user.id, *ran) if ran else "")
    return not ran


def _named(result: Any) -> list[str]:
    """The user ids in what the tool says; none where it did not run."""
    named = [result.get(name) for name in ("caller", "data", "note")] if isinstance(result, dict) else []
    return [id for id in named if isinstance(id, str)]


DISPATCHER = "UnifiedToolDispatcher"
#: Where a dispatcher keeps the context that it was made for.
_CONTEXTS = ("user_context", "context", "_user_context", "_context")
#: What some versions want besides a context: here without tools, since there are no data to run them on.
_EQUIPMENT: tuple[tuple[str, Any], ...] = (("engine", None), ("tools", ()))


@workload(Mode.PROBE, "making dispatchers", title="Tool dispatchers in this process")
async def make_dispatchers(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Have the platform's own ``UnifiedToolDispatcher`` make one per user in this process, and end them one by one.

    >>> await make_dispatchers(probe)   # doctest: +SKIP
    Tool dispatchers in this process (alice, bob, carol): 3 made, 3 ended, 3 calls after the end, …

    Each must be its own user's, also after the others have ended; one that has ended calls nothing any more. Recorded
    as attempts on the surface ``component``: ``checkers.tokens`` judges whose a dispatcher is.
    """
    party = list(users) or probe.users
    contexts, dispatchers = probe.component("UserExecutionContext"), probe.component(DISPATCHER)
    for component, making in ((contexts, "from_request"), (dispatchers, "create_for_user")):
        if not component.takes(making):
            missing = str(component.differences[0]) if component.differences else f"{component.name}.{making}"
            return Outcome(users=names(party), missing=missing)
    made = await probe.together(_dispatcher(probe, contexts, dispatchers, user) for user in party)
    held = [(user, one.value) for user, one in zip(party, made, strict=True) if isinstance(one, Returned)]
    ended = refused = whole = 0
    for number, (user, dispatcher) in enumerate(held):
        whole += all(_whose(other) == owner.id for owner, other in held[number:])
        ended += bool(await dispatchers.call("cleanup", on=dispatcher, by=user.name))
        call = begin(probe, user, "a call after the end", phase=DISPATCHER, expect=REFUSED)
        late = await dispatchers.call("execute_tool", "no_such_tool", {}, on=dispatcher, by=user.name)
        end(probe, call, late, user.id)
        refused += not late
    counts = {"made": len(held), "ended": ended, "calls after the end": len(held), "refused": refused}
    return Outcome(users=names(party), counts=counts | {"unaffected": whole})


async def _dispatcher(probe: Investigation, contexts: Component, dispatchers: Component, user: User) -> CallResult:
    """A dispatcher for a context of the user's: the positive control of the calls that come after its end."""
    call = begin(probe, user, "own context", phase=DISPATCHER, expect=user.name, control=True)
    context = await own_context(contexts, user)
    if not isinstance(context, Returned):
        end(probe, call, context, "")
        return context
    wanted = {name: value for name, value in _EQUIPMENT if dispatchers.takes("create_for_user", name)}
    made = await dispatchers.call("create_for_user", context.value, by=user.name, **wanted)
    end(probe, call, made, _whose(made.value) if isinstance(made, Returned) else "")
    return made


def _whose(dispatcher: Any) -> str:
    """The user id of the context that a dispatcher holds; "" where it shows none."""
    context = next((held for name in _CONTEXTS if (held := getattr(dispatcher, name, None)) is not None), None)
    return user_id_of(context)
