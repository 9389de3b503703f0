"""What forgeries are made from: tokens that a tester comes by honestly, and keys that the target's owner has lent."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered
from netra_probe.forgery import Material
from netra_probe.forgery.tokens import claims_of
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import Survey
from netra_probe.workloads.auth.identity_endpoints import service_headers

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Lifetime of a token that is ordered in order to expire, and how long after its end nobody may take it any more.
SHORT_LIFE, SURELY_OVER = 1, 0.2
#: What a token calls a time beyond this, in seconds since 1970, is no clock's.
_LATEST = 2**33


@dataclass(frozen=True, kw_only=True)
class ShortToken:
    """A token that was ordered with a short life, and when, by our own clock, it will be over."""

    token: Secret
    over: float

    async def outlive(self, probe: Investigation) -> None:
        """Wait until it has expired."""
        await probe.wire.pause(self.over - time.monotonic())


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
