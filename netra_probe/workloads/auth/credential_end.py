"""The ends of credentials: logout, expiry, a disabled account; afterwards nothing that was opened with them goes on.

Each end is made in a session of its own, with a live socket at every backend. That the credential works is shown
before; after a moment of grace it is used again at every endpoint, and the sockets are given something to carry.
``checkers.lifecycle`` judges.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.auth import AuthClient
from netra_probe.clients.replies import Refused
from netra_probe.clients.websocket import Handshake, Socket
from netra_probe.forgery import Forgery
from netra_probe.forgery.tokens import signed
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import Survey, survey
from netra_probe.target.deployment import Mode
from netra_probe.workloads.auth.attempts import claims, short_token
from netra_probe.workloads.auth.identity_endpoints import (
    IdentityEndpoint,
    all_endpoints,
    open_endpoints,
    service_headers,
)
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: C7 lets an end take two seconds to reach everybody; a little more, so that no use falls into the grace.
GRACE = 2.2
#: Seconds that a token lives whose expiry is waited for: enough to show that it works.
SHORT_LIFE = 3
#: A token that the target itself gives no more than this is waited for.
LONGEST_WAIT = 30


@dataclass(kw_only=True)
class Held:
    """One credential, with what was opened with it."""

    user: User
    name: str
    token: Secret
    sockets: list[Socket]
    refused: int = 0
    used: int = 0


@workload(Mode.PROBE, "logging out")
async def log_out(probe: Investigation, user: User) -> Outcome:
    """Log out of a session that has live sockets: token, refresh token and sockets are of no use any more.

    The user's main session goes on, and makes the events that the dead sockets must not carry. Triggers faults A6 and
    W11.
    """
    found = await survey(probe)
    session = await user.another_session()
    if session is None or session.access is None:
        return Outcome(users=(user.name,), missing="a further session")
    try:
        held = await hold(probe, found, user, token=session.access, name=session.credential or user.name)
        if not await session.logout():
            await release(held)
            return Outcome(users=(user.name,), missing="POST /auth/logout")
        await probe.wire.pause(GRACE)
        await _refresh_after(session, held)
        return await afterwards(probe, found, held, how="logout")
    finally:
        await session.http.close()


@workload(Mode.PROBE, "waiting for a token's expiry")
async def let_expire(probe: Investigation, user: User) -> Outcome:
    """Use a token beyond its lifetime, and keep sockets open across it.

    A short token is ordered from the auth service where the target's owner has lent a service's credentials, signed
    with the signing key where that was lent, or waited for where tokens live half a minute at most. Triggers faults A3,
    W11.
    """
    found = await survey(probe)
    token, over = await _short_lived(probe, found, user)
    if token is None:
        return Outcome(users=(user.name,), missing="a token that expires soon")
    held = await hold(probe, found, user, token=token, name=f"{user.name}-short")
    await probe.wire.pause(over - time.monotonic())
    probe.history.observe("expire", user=user.name, detail={"credential": held.name})
    await probe.wire.pause(GRACE)
    return await afterwards(probe, found, held, how="expiry")


@workload(Mode.PROBE, "disabling an account of the probe's own")
async def disable(probe: Investigation) -> Outcome:
    """Have an account disabled that is made for it: whatever it holds ends, and it comes back only by a new login.

    Needs a service's credentials. Triggers faults A6 and W11.
    """
    found = await survey(probe)
    headers = service_headers(probe)
    if not headers or not found.auth.offers("POST", "/auth/users/{id}/disable"):
        return Outcome(users=(), missing="a way for services to disable an account")
    user = next(iter(await probe.recruit(1)), None)
    if user is None or user.auth.access is None:
        return Outcome(users=(), missing="an account to disable")
    held = await hold(probe, found, user, token=user.auth.access, name=user.auth.credential or user.name)
    http = probe.wire.http(probe.target.auth_url, surface="auth")
    try:
        route = "/auth/users/{user_id}/disable"
        if not await http.request("POST", route, path={"user_id": user.id}, headers=headers, anonymous=True):
            await release(held)
            return Outcome(users=(user.name,), missing="a way for services to disable an account")
        probe.history.observe("disable", user=user.name)
        await probe.wire.pause(GRACE)
        outcome = await afterwards(probe, found, held, how="disabling", events=False)
        route = "/auth/users/{user_id}/enable"
        await http.request("POST", route, path={"user_id": user.id}, headers=headers, anonymous=True)
        await user.login()
        return outcome
    finally:
        await http.close()


async def hold(
    probe: Investigation, found: Survey, user: User, *, token: Secret, name: str, with_sockets: bool = True
) -> Held:
    """Show that a credential works at every endpoint, and open a socket with it at every backend."""
    mark = {"credential": name}
    for endpoint in await _endpoints(probe, found, user):
        await endpoint.show(user, Forgery(bearer=token), mark)
        await endpoint.close()
    sockets = []
    for number in range(len(probe.target.backend_urls) if with_sockets else 0):
        opened = await probe.wire.open(
            Handshake(name=user.connection_name(), user=user.name, backend=number, token=token, attempt=mark)
        )
        if isinstance(opened, Socket):
            sockets.append(opened)
    return Held(user=user, name=name, token=token, sockets=sockets)


async def _endpoints(probe: Investigation, found: Survey, user: User) -> list[IdentityEndpoint]:
    """The endpoints that the user's main credential opens: HTTP only, sockets are opened to stay."""
    return await open_endpoints(probe, all_endpoints(probe, found, surfaces=("auth", "rest")), like=user)


async def _refresh_after(session: AuthClient, held: Held) -> None:
    """The refresh token of a session that was logged out is worth nothing either."""
    if session.refreshing is None:
        return
    reply = await session.http.request(
        "POST",
        "/auth/refresh",
        json={"refresh_token": session.refreshing.reveal()},
        anonymous=True,
        attempt=_mark(held, "logout"),
    )
    held.used += 1
    held.refused += isinstance(reply, Refused)


async def afterwards(probe: Investigation, found: Survey, held: Held, *, how: str, events: bool = True) -> Outcome:
    """Use the credential at every endpoint, and see what its sockets still do."""
    mark, user = _mark(held, how), held.user
    for endpoint in all_endpoints(probe, found, surfaces=("auth", "rest", "websocket"), places=("header",)):
        seen = await endpoint.show(user, Forgery(bearer=held.token), mark)
        held.used += 1
        held.refused += not seen.who
        if seen.outcome == "ok":
            await endpoint.ask_nobody()
        await endpoint.close()
    if events:
        # Something of the user's happens, which open sockets of the user are told.
        await user.new_thread()
    await ask_for_life(probe, held.sockets)
    closed = sum(socket.closed is not None for socket in held.sockets)
    await release(held)
    counts = {"uses afterwards": held.used, "refused": held.refused, "sockets": len(held.sockets), "closed": closed}
    return Outcome(users=(user.name,), counts=counts)


async def ask_for_life(probe: Investigation, sockets: Iterable[Socket]) -> None:
    """Ping what is open, one socket after the other, and wait for what it answers."""
    for socket in sockets:
        if socket.closed is None:
            await socket.send({"type": "ping"})
            start = len(socket.received)
            await socket.until(lambda frame: frame.name == "pong", within=probe.timeouts.pong, start=start)


async def release(held: Held) -> None:
    """Close the sockets that were opened with a credential."""
    for socket in held.sockets:
        await socket.close()


def _mark(held: Held, how: str) -> Mapping[str, Any]:
    return {"attempt": f"after {how}", "expect": "refused", "credential": held.name}


async def _short_lived(probe: Investigation, found: Survey, user: User) -> tuple[Secret | None, float]:
    """A token of the user's that expires soon, and the time of our clock at which it surely has."""
    short = await short_token(probe, found, user, seconds=SHORT_LIFE)
    if short is not None:
        return short.token, short.over
    own = claims(user.auth.access)
    key = probe.target.secret("jwt_secret")
    issued, expires = own.get("iat"), own.get("exp")
    if not isinstance(issued, int) or not isinstance(expires, int):
        return None, 0.0
    if key is not None:
        began = time.monotonic()
        now = int(time.time())
        changed = {**own, "iat": now, "exp": now + SHORT_LIFE}
        return signed({"alg": "HS256", "typ": "JWT"}, changed, key.reveal().encode()), began + SHORT_LIFE + 0.2
    if expires - issued <= LONGEST_WAIT:
        session = await user.another_session()
        if session is not None:
            await session.http.close()
            return session.access, time.monotonic() + (expires - issued) + 0.2
    return None, 0.0
