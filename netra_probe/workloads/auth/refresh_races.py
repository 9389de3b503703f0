"""Refresh tokens work once: also when several ask at the same instant, and also later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netra_probe.clients.auth import AuthClient
from netra_probe.clients.replies import Answered
from netra_probe.forgery import Forgery
from netra_probe.history import actions
from netra_probe.history.principals import People
from netra_probe.history.secret import Secret
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import attempt, control, outcome_of
from netra_probe.workloads.auth.identity_endpoints import HttpEndpoint, Seen
from netra_probe.workloads.auth.token_material import claims
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@workload(Mode.PROBE, "using a refresh token twice")
async def refresh_together(probe: Investigation, user: User, *, times: int = 6) -> Outcome:
    """One refresh token, used several times at once and once more afterwards: it must win once, and for its owner.

    It happens in a session of its own, since a platform may end a session whose refresh token is used twice. Recorded
    as attempts with a single-use credential (tokens) and as transactions that spend it (transactions). Triggers fault
    A7.
    """
    session = await user.another_session()
    if session is None or session.refreshing is None:
        return Outcome(act="refresh_together", users=(user.name,), missing="a further session with a refresh token")
    people = People(probe.history)
    door = HttpEndpoint(
        probe, people, method="GET", route="/auth/me", surface="auth", base_url=probe.target.auth_url
    )  # fmt: skip
    used = session.refreshing
    try:
        await control(probe, door, user)
        clients = [AuthClient(session.http) for _ in range(times)]
        seen = await asyncio.gather(*(_refresh(probe, user, client, used, people) for client in clients))
        for client, result in zip(clients, seen, strict=True):
            if result.who and client.access is not None:
                await attempt(
                    probe, door, user=user, name="refreshed token", forgery=Forgery(bearer=client.access),
                    expect=user.name,
                )  # fmt: skip
        late = await _refresh(probe, user, AuthClient(session.http), used, people)
        await control(probe, door, user)
    finally:
        await door.close()
        await session.http.close()
    winners = sum(bool(result.who) for result in seen)
    return Outcome(
        act="refresh_together",
        users=(user.name,),
        counts={"at once": times, "winners": winners, "winners later": int(bool(late.who))},
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
