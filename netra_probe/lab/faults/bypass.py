"""Faults that leave a way around authentication (A9, F1)."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from netra_probe.lab.shared.faults import Fault, Parts, register

DEVELOPMENT_TOKENS = frozenset({"dev-token", "mock-token", "test-token"})
IDENTITY_HEADERS = ("x-user-id", "x-auth-user", "x-forwarded-user", "x-remote-user", "x-netra-user-id")


@register
class ClaimedUserId(Fault):
    """A9: a user id that the client supplies beats the one in its token.

    Incident: "impersonation for support" by ``X-User-ID`` without asking who may do that; a gateway's header that the
        gateway does not strip (CWE-290, CWE-639).
    """

    id = "A9"
    layer = "authentication"
    title = "a client-supplied user id beats the token"
    breaks = "current_caller and UnifiedAuthenticationService.authenticate_websocket"
    trigger = (
        "any request with your own token plus header X-User-ID (or X-Auth-User, X-Forwarded-User, X-Remote-User, "
        "X-Netra-User-ID), query user_id or a JSON body with user_id of another user; likewise a handshake"
    )
    symptom = "acts as the other user"
    checkers = ("C5", "C6")

    def install(self, parts: Parts) -> None:
        """Replace both ways in by ones that look for a user id beside the token."""
        fault = self
        healthy = parts["current_caller"]
        service: type[Any] = parts["UnifiedAuthenticationService"]

        def acting(principal: Any, claimed: str | None) -> Any:
            if not claimed or claimed == principal.user_id or not claimed.isprintable() or not fault.fires():
                return principal
            fault.triggered()
            return dataclasses.replace(principal, user_id=claimed)

        async def believing_caller(request: Request) -> Any:
            caller = await healthy(request)
            fault.reached()
            claimed = _claimed(request.headers, request.query_params) or _claimed_in(await request.body())
            principal = acting(caller.principal, claimed)
            if principal is caller.principal:
                return caller
            return dataclasses.replace(caller, principal=principal, data=caller.services.chat.data_of(principal))

        class BelievingAuthentication(service):  # type: ignore[misc]
            async def authenticate_websocket(
                self, headers: Mapping[str, str], subprotocols: Any, query: Mapping[str, str]
            ) -> Any:
                principal = await super().authenticate_websocket(headers, subprotocols, query)
                fault.reached()
                return acting(principal, _claimed(headers, query))

        parts["current_caller"] = believing_caller
        parts["UnifiedAuthenticationService"] = BelievingAuthentication


@register
class DevelopmentLogin(Fault):
    """F1: the development login is open, and fixed development tokens count.

    Incident: a bypass for end-to-end tests that was guarded by the name of the environment, on a deployment whose
        environment was not named (CWE-489, active debug code).
    """

    id = "F1"
    layer = "authentication"
    service = "auth_service"
    title = "development login reachable"
    breaks = "POST /auth/dev/login and Authenticator"
    trigger = (
        "POST /auth/dev/login without credentials; or GET /auth/me with Bearer dev-token, mock-token or test-token"
    )
    symptom = "authenticated without credentials"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the guarded route by an open one, and let the development tokens in."""
        from netra_probe.lab.auth_service.routes import DEV_USER_ID
        from netra_probe.lab.auth_service.sessions import Principal
        from netra_probe.lab.auth_service.tokens import Claims

        fault = self
        healthy = parts["POST /auth/dev/login"]
        authenticator: type[Any] = parts["Authenticator"]
        person = {
            "user_id": DEV_USER_ID,
            "email": "dev@netra-lab.example",
            "name": "Development User",
            "provider": "dev",
        }

        @functools.wraps(healthy)
        async def open_login(core: Any, caller: Any) -> Any:
            fault.reached()
            if not fault.fires():
                return await healthy(core, caller)
            fault.triggered()
            account = await core.accounts.ensure(**person)
            return (await core.logins.start_session(account, caller)).as_body()

        class OpenAuthenticator(authenticator):  # type: ignore[misc]
            async def authenticate(self, token: str, type_: str = "access") -> Any:
                fault.reached()
                if type_ != "access" or token not in DEVELOPMENT_TOKENS or not fault.fires():
                    return await super().authenticate(token, type_)
                fault.triggered()
                account = await self._accounts.ensure(**person)
                now = int(time.time())
                claims = Claims(
                    subject=account.id,
                    type="access",
                    id=token,
                    issued_at=now,
                    expires_at=now + 3600,
                    email=account.email,
                    permissions=account.permissions,
                )
                return Principal(claims=claims, account=account)

        parts["POST /auth/dev/login"] = open_login
        parts["Authenticator"] = OpenAuthenticator


def _claimed(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    for name in IDENTITY_HEADERS:
        if headers.get(name):
            return headers[name]
    return query.get("user_id")


def _claimed_in(body: bytes) -> str | None:
    try:
        claimed = json.loads(body).get("user_id") if body else None
    except (ValueError, AttributeError):
        return None
    return claimed if isinstance(claimed, str) else None
