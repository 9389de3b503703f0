"""Who a target says one is, and what it makes of an identity in this process: the identity of a request, end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component import CallResult, Component, Returned
from netra_probe.forgery import REFUSED, Forgery
from netra_probe.investigation.survey import survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import attempt, control
from netra_probe.workloads.auth.forged_tokens import SURFACES, with_another_end
from netra_probe.workloads.auth.identity_endpoints import (
    PLACES,
    IdentityEndpoint,
    SocketEndpoint,
    all_endpoints,
    open_endpoints,
)
from netra_probe.workloads.components.fakes import begin, end, user_id_of
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

CONTEXT = "UserExecutionContext"
#: What services write where an id is missing (netra-wire §10); a context for one of these would be everybody's.
NOBODYS_IDS = ("", "registry", "placeholder", "default", "temp", "none")


@workload(Mode.PROBE, "asking without a valid token", title="Identity checks")
async def introduce(
    probe: Investigation,
    users: Sequence[User] = (),
    *,
    rounds: int = 1,
    surfaces: Iterable[str] = SURFACES,
    places: Iterable[str] = PLACES,
) -> Outcome:
    """Everybody asks at every endpoint who they are, all in the same instant, round after round.

    >>> await introduce(probe)   # doctest: +SKIP
    Identity checks (alice, bob, carol): 11 endpoints, 66 asked, 66 accepted, 30 forged, 30 refused

    After the first round everybody also shows, at the same instant, what they hold and is no access token: their own
    with another end, and their refresh token. At handshakes that is left out: bad tokens from everybody at once trip
    breakers (netra-wire §1). Whoever is taken for somebody else shares a cache, a variable or an address with them.
    Triggers faults A4, A5 and K3.

    Arguments:
        surfaces: which of ``auth``, ``rest`` and ``websocket``.
        places: where handshakes carry the token.
    """
    party = list(users) or probe.users
    found = await survey(probe)
    endpoints = await open_endpoints(
        probe, all_endpoints(probe, found, surfaces=surfaces, places=places), like=party[0]
    )
    asked = own = forged = refused = 0
    try:
        for number in range(rounds + 1):
            pairs = [(endpoint, user) for endpoint in endpoints for user in party]
            # The others begin in the second round: by then a cache has met the valid ones.
            trying = [pair for pair in pairs if number and not isinstance(pair[0], SocketEndpoint)]
            answers = asyncio.gather(*(control(probe, endpoint, user) for endpoint, user in pairs))
            attempts = asyncio.gather(*(_forged(probe, endpoint, user) for endpoint, user in trying))
            took, outsiders = await answers, await attempts
            asked, own = asked + len(took), own + sum(took)
            for shown, held in outsiders:
                forged, refused = forged + shown, refused + held
    finally:
        for endpoint in endpoints:
            await endpoint.close()
    if not endpoints:
        return Outcome(users=names(party), missing="an endpoint that reports who the caller is")
    counts = {"endpoints": len(endpoints), "asked": asked, "accepted": own}
    return Outcome(users=names(party), counts=counts | {"forged": forged, "refused": refused})


async def _forged(probe: Investigation, endpoint: IdentityEndpoint, user: User) -> tuple[int, int]:
    """What a user holds and is no access token; how many were shown, and how many made them nobody."""
    held = {"refresh token as access token": user.auth.refreshing}
    if user.auth.access is not None:
        held["same beginning"] = with_another_end(user.auth.access)
    tried = [
        await attempt(probe, endpoint, user=user, name=name, forgery=Forgery(bearer=token), expect=REFUSED)
        for name, token in held.items()
        if token is not None
    ]
    return len(tried), sum(not seen.who for seen in tried)


@workload(Mode.PROBE, "making contexts", title="Execution contexts in this process")
async def make_contexts(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Have the platform's own ``UserExecutionContext`` make contexts in this process: for everybody, and for nobody.

    >>> await make_contexts(probe)   # doctest: +SKIP
    Execution contexts in this process (alice, bob, carol): 3 made, 3 children, 3 isolated, …

    Each user's context has a child, which must be the same user's; ids that are nobody's must be refused by name.
    Recorded as attempts on the surface ``component``: ``checkers.tokens`` judges whose a context is.
    """
    party = list(users) or probe.users
    contexts = probe.component(CONTEXT)
    if not contexts.takes("from_request", "user_id", "thread_id", "run_id"):
        reason = str(contexts.differences[0]) if contexts.differences else "from_request"
        return Outcome(users=names(party), missing=reason)
    counts = dict.fromkeys(("made", "children", "isolated", "without a user", "refused"), 0)
    made = await probe.together(_context(probe, contexts, user, user.id) for user in party)
    for user, context in zip(party, made, strict=True):
        if not isinstance(context, Returned):
            continue
        counts["made"] += 1
        child = await _child(probe, contexts, user, context.value)
        counts["children"] += isinstance(child, Returned)
        if isinstance(child, Returned):
            counts["isolated"] += bool(await contexts.call("verify_isolation", on=child.value, by=user.name))
    for user in party:
        for nobody in NOBODYS_IDS:
            refused = await _context(probe, contexts, user, nobody)
            counts["without a user"] += 1
            counts["refused"] += not refused
    return Outcome(users=names(party), counts=counts)


async def _context(probe: Investigation, contexts: Component, user: User, user_id: str) -> CallResult:
    """A context for a user id; for the user's own it is the positive control."""
    own = user_id == user.id
    name = "own user id" if own else f'user id "{user_id}"'
    thread, run = f"thread-of-{user.name}", f"run-of-{user.name}"
    call = begin(probe, user, name, phase=CONTEXT, expect=user.name if own else REFUSED, control=own)
    made = await contexts.call("from_request", user_id=user_id, thread_id=thread, run_id=run, by=user.name)
    end(probe, call, made, user_id_of(made.value) if isinstance(made, Returned) else "")
    return made


async def _child(probe: Investigation, contexts: Component, user: User, context: Any) -> CallResult:
    call = begin(probe, user, "child context", phase=CONTEXT, expect=user.name, control=True)
    made = await contexts.call("create_child_context", "a step", on=context, by=user.name)
    end(probe, call, made, user_id_of(made.value) if isinstance(made, Returned) else "")
    return made
