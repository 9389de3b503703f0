"""Whom each service takes the bearer of one token for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.clients.auth import AuthClient
from netra_probe.forgery import Forgery
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import survey
from netra_probe.workloads.auth.identity_endpoints import IdentityEndpoint, SocketEndpoint, all_endpoints

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

NOBODY, SOMEBODY_ELSE, NO_ANSWER = "nobody", "somebody else", "no answer"


async def recognised(
    probe: Investigation, user: User, session: AuthClient | None = None, *, refused: str = ""
) -> dict[str, str]:
    """As whom each service takes the token of a session, by service.

    An alias, ``nobody``, ``somebody else`` or ``no answer``.

    >>> await workloads.recognised(probe, alice)   # doctest: +SKIP
    {'auth GET /auth/me': 'alice', 'backend-1 GET /api/users/me': 'alice', 'backend-1 socket': 'alice', …}

    Arguments:
        session: the user's main one when left out.
        refused: why it has to be refused, such as ``after logout``; the requests are marked so.
    """
    found = await survey(probe)
    session = session or user.auth
    mark = {**session.mark, **({"attempt": refused, "expect": "refused"} if refused else {})}
    endpoints = all_endpoints(probe, found, surfaces=("auth", "rest", "websocket"), places=("header",))
    seen = await probe.together(_ask(endpoint, user, session.access, mark) for endpoint in endpoints)
    return {_name(endpoint): who for endpoint, who in zip(endpoints, seen, strict=True)}


async def _ask(endpoint: IdentityEndpoint, user: User, token: Secret | None, mark: dict[str, Any]) -> str:
    seen = await endpoint.show(user, Forgery(bearer=token), mark)
    await endpoint.close()
    if seen.who:
        return user.name if seen.who == user.id else SOMEBODY_ELSE
    # An endpoint that validates tokens says no with a status of 200.
    return NO_ANSWER if seen.outcome == "info" else NOBODY


def _name(endpoint: IdentityEndpoint) -> str:
    where = endpoint.backend or endpoint.surface
    return f"{where} {'socket' if isinstance(endpoint, SocketEndpoint) else endpoint.name}"
