"""Showing a credential at an endpoint, whom it made one, and what forgeries are made of."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered, Refused, Reply
from netra_probe.forgery import Forgery, Material
from netra_probe.forgery.tokens import claims_of, description, weak_key_of
from netra_probe.history import actions
from netra_probe.history.operation import Outcome
from netra_probe.history.principals import UNNAMED
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import Survey
from netra_probe.workloads.auth.identity_endpoints import IdentityEndpoint, Seen, SocketEndpoint, service_headers

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: A breaker that bad tokens have tripped opens again after about 30 s (netra-wire §1): tries, and seconds between them.
BREAKER_TRIES, BREAKER_PAUSE = 8, 5.0


async def attempt(
    probe: Investigation,
    endpoint: IdentityEndpoint,
    *,
    user: User,
    name: str,
    forgery: Forgery,
    expect: str,
    control: bool = False,
    owner: str | None = None,
) -> Seen:
    """Present one credential and record as whom it was accepted.

    Arguments:
        expect: ``refused``, or the alias that one must be taken for.
        control: a valid credential, which proves that the endpoint works; the request itself is then an ordinary one.
        owner: whose identity the forgery claims beside a valid one.
    """
    # What the forged token says, so that whoever reads the witness can make it again; never the token.
    shown = [forgery.bearer, forgery.subprotocol, *forgery.cookies.values(), *forgery.query.values()]
    told = [] if control else [description(one, user.auth.access) for one in shown if one is not None]
    call = probe.history.invoke(
        actions.ATTEMPT,
        user=user.name,
        connection=f"{user.name}/door",
        surface=endpoint.surface,
        backend=endpoint.backend,
        detail={"attempt": name, "expect": expect, "control": control, "phase": endpoint.name}
        | ({"token": "; ".join(filter(None, told))} if any(told) else {}),
    )
    marked: dict[str, Any] = {} if control else {"attempt": name, "expect": expect}
    if owner is not None:
        marked["owner"] = owner
    seen = await endpoint.show(user, forgery, marked)
    who = seen.who
    if who == UNNAMED and isinstance(endpoint, SocketEndpoint) and endpoint.names_nobody and expect == user.name:
        who = user.id  # accepted as it should be, by an endpoint that never says as whom
    probe.history.complete(call, seen.outcome, status=seen.status, ids={"user_id": who} if who else {})
    return Seen(outcome=seen.outcome, who=who, status=seen.status)


async def control(probe: Investigation, endpoint: IdentityEndpoint, user: User) -> bool:
    """The user's own token: whether the endpoint lets its owner in."""
    await user.renew()
    seen = await attempt(
        probe, endpoint, user=user, name="own token", forgery=Forgery(bearer=user.auth.access), expect=user.name,
        control=True,
    )  # fmt: skip
    return seen.outcome == "ok" and bool(seen.who)


def outcome_of(reply: Reply) -> Outcome:
    """How a history names what came of a request."""
    return "ok" if isinstance(reply, Answered) else "fail" if isinstance(reply, Refused) else "info"


async def restore(probe: Investigation, endpoint: IdentityEndpoint, user: User) -> bool:
    """Show a valid credential until the endpoint takes it: nobody shall be left locked out by what was tried."""
    for number in range(BREAKER_TRIES):
        if await control(probe, endpoint, user):
            return True
        if number + 1 < BREAKER_TRIES:
            await probe.wire.pause(BREAKER_PAUSE)
    return False


#: Lifetime of a token that is ordered in order to expire, and how long after its end nobody may take it any more.
SHORT_LIFE, SURELY_OVER = 1, 0.2
#: What a token calls a time beyond this, in seconds since 1970, is no clock's.
_LATEST = 2**33


@dataclass(frozen=True, kw_only=True)
class ShortToken:
    """A token that was ordered with a short life, and when, by our own clock, it will be over."""

    token: Secret
    over: float


def claims(token: Secret | None) -> dict[str, Any]:
    """The claims of a token; nothing of one that is opaque."""
    try:
        return claims_of(token) if token is not None else {}
    except ValueError:
        return {}


async def short_token(probe: Investigation, found: Survey, user: User, *, seconds: int) -> ShortToken | None:
    """An access token of a user with a short life, where a service may order one."""
    headers = service_headers(probe)
    if not headers or not found.auth.offers("POST", "/auth/create-token"):
        return None
    body = {"user_id": user.id, "expires_in": seconds}
    reply = await _as_service(probe, "/auth/create-token", body, headers)
    token = _token_in(reply)
    return ShortToken(token=token, over=time.monotonic() + seconds + SURELY_OVER) if token is not None else None


def try_keys_offline(probe: Investigation, users: Iterable[User]) -> None:
    """Note whether tokens that were given out are signed with a published key: nothing is sent for that."""
    for user in users:
        for kind, token in (("access token", user.auth.access), ("refresh token", user.auth.refreshing)):
            if claims(token) and token is not None:
                detail = {"kind": kind, "known_key": weak_key_of(token) is not None, "offline": True}
                probe.history.observe(actions.TOKEN, user=user.name, detail=detail)


async def gather(
    probe: Investigation, found: Survey, *, tester: User, victim: User, needs: Collection[str]
) -> Material:
    """What the playbook needs of what can be had: the tester's tokens, the victim's id, the keys on loan."""
    assert tester.auth.access is not None, f"{tester.name} has no token; log in first"
    service = None
    secret = probe.target.secret("service_secret")
    if "service" in needs and secret is not None and found.auth.offers("POST", "/auth/service-token"):
        body = {"service_id": probe.target.service_id or "", "service_secret": secret.reveal()}
        service = _token_in(await _as_service(probe, "/auth/service-token", body, {}))
    short = await short_token(probe, found, tester, seconds=SHORT_LIFE) if "expired" in needs else None
    issued = claims(tester.auth.access).get("iat")
    return Material(
        token=tester.auth.access,
        victim=victim.id,
        # The target's clock as its own token tells it; a few seconds do not matter to any attempt.
        now=issued if isinstance(issued, int) and 0 < issued < _LATEST else int(time.time()),
        key=probe.target.secret("jwt_secret"),
        victim_token=victim.auth.access,
        refresh=tester.auth.refreshing,
        service=service,
        expired=short.token if short is not None else None,
        revoked=await _revoked(tester) if "revoked" in needs else None,
    )


async def _revoked(user: User) -> Secret | None:
    """A token of a session that was logged out."""
    session = await user.another_session()
    if session is None:
        return None
    try:
        ended = await session.logout()
    finally:
        await session.http.close()
    return session.access if ended else None


async def _as_service(probe: Investigation, route: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    http = probe.wire.http(probe.target.auth_url, surface="auth")
    try:
        return await http.request("POST", route, json=body, headers=headers, anonymous=True)
    finally:
        await http.close()


def _token_in(reply: Any) -> Secret | None:
    body = reply.body if isinstance(reply, Answered) else None
    token = body.get("access_token") if isinstance(body, dict) else None
    return Secret(token) if isinstance(token, str) else None
