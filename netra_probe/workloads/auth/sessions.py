"""Sessions that come and go, and refresh tokens used by several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.clients.auth import AuthClient
from netra_probe.clients.replies import Answered
from netra_probe.forgery import Forgery
from netra_probe.history import actions
from netra_probe.history.principals import People
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import Survey, survey
from netra_probe.plans.token_messages import show_token_of
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import attempt, claims, control, outcome_of
from netra_probe.workloads.auth.credential_end import GRACE, Held, afterwards, ask_for_life, hold, release
from netra_probe.workloads.auth.identity_endpoints import HttpEndpoint, Seen
from netra_probe.workloads.database.pools import saturate_pool
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: A slope needs three cycles; one more shows what the first has warmed up.
CYCLES = 4


@workload(Mode.PROBE, "logging out", title="Sessions opened and ended")
async def come_and_go(
    probe: Investigation, users: Sequence[User] = (), *, cycles: int = CYCLES, with_sockets: bool = False
) -> Outcome:
    """Log in, say who one is at every endpoint, and log out, cycle after cycle; then try all that was let go.

    >>> await come_and_go(probe, [alice])   # doctest: +SKIP
    Sessions opened and ended (alice): 5 sessions, 35 uses afterwards, 35 refused

    What the target holds on to is measured after each cycle (resources), and after one moment of grace every credential
    is shown once more everywhere (lifecycle). With sockets, each session opens one at every backend and leaves it to
    the target to end it, for a moment. Triggers fault A6; with sockets also W11 and P4.
    """
    party = list(users) or probe.users
    found = await survey(probe)
    held: list[Held] = []
    sockets = closed = 0
    await saturate_pool(probe, party)
    # One after the other, no cycle needs more than the one before.
    async for _ in probe.cycles(cycles):
        begun = [session for user in party if (session := await _session(probe, found, user, with_sockets))]
        sockets += sum(len(one.sockets) for one in begun)
        closed += sum(await probe.together(_closed(probe, one) for one in begun))
        held += begun
    if not held:
        return Outcome(users=names(party), missing="login and logout")
    await probe.wire.pause(GRACE)
    ended = await probe.together(afterwards(probe, found, one, how="logout", events=False) for one in held)
    counts = {"sessions": len(held)}
    counts |= {name: sum(outcome.counts[name] for outcome in ended) for name in ("uses afterwards", "refused")}
    return Outcome(
        users=names(party),
        counts=counts | ({"sockets": sockets, "closed": closed} if with_sockets else {}),
    )


async def _closed(probe: Investigation, held: Held) -> int:
    """Give the target a moment to end what was opened with a credential; what it leaves open shows that, and is closed.

    Something happens that is sent to the user's sockets: one that carries it has outlived its session (fault W11).
    Returns how many sockets the target has ended.
    """
    await probe.together(socket.until(lambda frame: False, within=GRACE) for socket in held.sockets)
    left = [socket for socket in held.sockets if socket.closed is None]
    if left:
        await held.user.new_thread()
        await ask_for_life(probe, left)
    closed = len(held.sockets) - len(left)
    await release(held)
    held.sockets = []
    return closed


async def _session(probe: Investigation, found: Survey, user: User, with_sockets: bool) -> Held | None:
    """One session from its login to its logout; ``None`` where the target lets nobody begin or end one."""
    session = await user.another_session()
    if session is None or session.access is None:
        return None
    name = session.credential or user.name
    try:
        held = await hold(probe, found, user, token=session.access, name=name, with_sockets=with_sockets)
        return held if await session.logout() else None
    finally:
        await session.http.close()


@workload(Mode.PROBE, "using a refresh token twice", title="Concurrent token refreshes")
async def refresh_together(probe: Investigation, user: User, *, times: int = 6) -> Outcome:
    """One refresh token, used several times at once and once more afterwards: it must win once, and for its owner.

    It happens in a session of its own, since a platform may end a session whose refresh token is used twice. Recorded
    as attempts with a single-use credential (tokens) and as transactions that spend it (transactions). Triggers fault
    A7.
    """
    session = await user.another_session()
    if session is None or session.refreshing is None:
        return Outcome(users=(user.name,), missing="a further session with a refresh token")
    people = People(probe.history)
    endpoint = HttpEndpoint(
        probe, people, method="GET", route="/auth/me", surface="auth", base_url=probe.target.auth_url
    )  # fmt: skip
    used = session.refreshing
    try:
        await control(probe, endpoint, user)
        clients = [AuthClient(session.http) for _ in range(times)]
        seen = await asyncio.gather(*(_refresh(probe, user, client, used, people) for client in clients))
        for client, result in zip(clients, seen, strict=True):
            if result.who and client.access is not None:
                await attempt(
                    probe, endpoint, user=user, name="refreshed token", forgery=Forgery(bearer=client.access),
                    expect=user.name,
                )  # fmt: skip
        late = await _refresh(probe, user, AuthClient(session.http), used, people)
        await control(probe, endpoint, user)
    finally:
        await endpoint.close()
        await session.http.close()
    winners = sum(bool(result.who) for result in seen)
    return Outcome(
        users=(user.name,),
        counts={"at the same moment": times, "successful": winners, "successful later": int(bool(late.who))},
    )


async def _refresh(probe: Investigation, user: User, client: AuthClient, used: Secret, people: People) -> Seen:
    once = f"a refresh token of {user.name}"
    steps = [["spend", once, 1]]
    process = {"user": user.name, "connection": f"{user.name}/auth", "surface": "auth"}
    spending = probe.history.invoke(actions.TXN, detail={"txn": steps}, **process)
    detail = {"attempt": "refresh token", "expect": user.name, "single_use": once, "phase": "GET /auth/me"}
    trying = probe.history.invoke(actions.ATTEMPT, detail=detail, **process)
    client.refreshing = used
    reply = await client.refresh()
    outcome = outcome_of(reply)
    who = ""
    if isinstance(reply, Answered):
        said = str(claims(client.access).get("sub") or "")
        who = people.whole(said) if said else people.in_answer(reply.body)
    probe.history.complete(spending, outcome, detail={"txn": steps})
    probe.history.complete(trying, outcome, ids={"user_id": who} if who else {})
    return Seen(outcome=outcome, who=who)


@workload(Mode.ATTACK, "showing another user's token", answers=True, title="Tokens shown on open sockets")
async def swap_identity(probe: Investigation, user: User, other: User) -> Outcome:
    """On connections of one user: first their own token in a message, then the other's; whose events come then?

    >>> await swap_identity(probe, bob, alice)   # doctest: +SKIP
    Tokens shown on open sockets (bob, alice): 2 presented, 1 accepted, 2 acting for themselves

    A socket that takes another's token for what it does, and keeps the subscriptions that it had, carries the events of
    one user to the other (fault A11).
    """
    followed = [await show_token_of(probe, user, shown, beside=other) for shown in (user, other)]
    seen = [one for one in followed if one is not None]
    people = (user.name, other.name)
    if not seen:
        return Outcome(users=people, missing="a socket over which threads are made")
    counts = {
        "presented": len(seen),
        "accepted": sum(one.accepted for one in seen),
        "acting for themselves": sum(one.acts == user.name for one in seen),
    }
    return Outcome(users=people, counts=counts)
