"""Dispatchers made in this process: each is one context's, and worth nothing when its request is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component import CallResult, Component, Returned
from netra_probe.forgery import REFUSED
from netra_probe.target.deployment import Mode
from netra_probe.workloads.components.in_process import begin, end, own_context, user_id_of
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

DISPATCHER = "UnifiedToolDispatcher"
#: Where a dispatcher keeps the context that it was made for.
_CONTEXTS = ("user_context", "context", "_user_context", "_context")
#: What some versions want besides a context: here without tools, since there are no data to run them on.
_EQUIPMENT: tuple[tuple[str, Any], ...] = (("engine", None), ("tools", ()))


@workload(Mode.PROBE, "making dispatchers")
async def make_dispatchers(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Have the platform's own ``UnifiedToolDispatcher`` make one per user in this process, and end them one by one.

    >>> await make_dispatchers(probe)   # doctest: +SKIP
    <dispatchers of alice, bob, carol: made 3, ended 3, calls afterwards 3, refused 3, still whole 3>

    Each must be its own user's, also after the others have ended; one that has ended calls nothing any more. Recorded
    as attempts on the surface ``component``: ``checkers.tokens`` judges whose a dispatcher is.
    """
    party = list(users) or probe.users
    contexts, dispatchers = probe.component("UserExecutionContext"), probe.component(DISPATCHER)
    for component, making in ((contexts, "from_request"), (dispatchers, "create_for_user")):
        if not component.takes(making):
            missing = str(component.differences[0]) if component.differences else f"{component.name}.{making}"
            return Outcome(act="dispatchers", users=names(party), missing=missing)
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
    counts = {"made": len(held), "ended": ended, "calls afterwards": len(held), "refused": refused}
    return Outcome(act="dispatchers", users=names(party), counts=counts | {"still whole": whole})


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
