"""Showing a credential at a door, and recording whom it made one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered, Refused, Reply
from netra_probe.forgery import Forgery
from netra_probe.forgery.tokens import description
from netra_probe.history import actions
from netra_probe.history.operation import Outcome
from netra_probe.history.principals import UNNAMED
from netra_probe.workloads.auth.identity_endpoints import IdentityEndpoint, Seen, SocketEndpoint

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: A breaker that bad tokens have tripped opens again after about 30 s (netra-wire §1): tries, and seconds between them.
BREAKER_TRIES, BREAKER_PAUSE = 8, 5.0


async def attempt(
    probe: Investigation,
    door: IdentityEndpoint,
    *,
    user: User,
    name: str,
    forgery: Forgery,
    expect: str,
    control: bool = False,
    owner: str | None = None,
) -> Seen:
    """Show one credential and record whom it made one.

    Arguments:
        expect: ``refused``, or the alias that one must be taken for.
        control: a valid credential, shown to prove that the door is open; the request itself is then an ordinary one.
        owner: whose identity the forgery claims beside a valid one.
    """
    # What the forged token says, so that whoever reads the witness can make it again; never the token.
    shown = [forgery.bearer, forgery.subprotocol, *forgery.cookies.values(), *forgery.query.values()]
    told = [] if control else [description(one, user.auth.access) for one in shown if one is not None]
    call = probe.history.invoke(
        actions.ATTEMPT,
        user=user.name,
        connection=f"{user.name}/door",
        surface=door.surface,
        backend=door.backend,
        detail={"attempt": name, "expect": expect, "control": control, "phase": door.name}
        | ({"token": "; ".join(filter(None, told))} if any(told) else {}),
    )
    marked: dict[str, Any] = {} if control else {"attempt": name, "expect": expect}
    if owner is not None:
        marked["owner"] = owner
    seen = await door.show(user, forgery, marked)
    who = seen.who
    if who == UNNAMED and isinstance(door, SocketEndpoint) and door.names_nobody and expect == user.name:
        who = user.id  # accepted as it should be, by a door that never says as whom
    probe.history.complete(call, seen.outcome, status=seen.status, ids={"user_id": who} if who else {})
    return Seen(outcome=seen.outcome, who=who, status=seen.status)


async def control(probe: Investigation, door: IdentityEndpoint, user: User) -> bool:
    """The user's own token: whether the door lets its owner in."""
    await user.renew()
    seen = await attempt(
        probe, door, user=user, name="own token", forgery=Forgery(bearer=user.auth.access), expect=user.name,
        control=True,
    )  # fmt: skip
    return seen.outcome == "ok" and bool(seen.who)


def outcome_of(reply: Reply) -> Outcome:
    """How a history names what came of a request."""
    return "ok" if isinstance(reply, Answered) else "fail" if isinstance(reply, Refused) else "info"


async def restore(probe: Investigation, door: IdentityEndpoint, user: User) -> bool:
    """Show a valid credential until the door takes it: nobody shall be left locked out by what was tried."""
    for number in range(BREAKER_TRIES):
        if await control(probe, door, user):
            return True
        if number + 1 < BREAKER_TRIES:
            await probe.wire.pause(BREAKER_PAUSE)
    return False
