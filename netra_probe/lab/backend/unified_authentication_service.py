"""UnifiedAuthenticationService: the only place where a token becomes a user, for REST and for sockets alike.

    principal = await authentication.authenticate_token(token)

The auth service decides, over HTTP, every time: nothing is cached, so a revocation counts from the next request on.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from netra_probe.lab.backend.errors import BackendError, DependencyDown, NotAuthenticated

MAX_TOKEN_LENGTH = 4096
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who the auth service says the bearer of a token is."""

    user_id: str
    email: str
    permissions: tuple[str, ...] = ()
    expires_at: float | None = None
    token: str = field(repr=False)


class NoToken(NotAuthenticated):
    """The caller brought no token at all."""

    code = "NO_TOKEN"


class MalformedToken(NotAuthenticated):
    """What was brought is not shaped like a JWT; it is never echoed."""

    code = "INVALID_FORMAT"


class TokenRefused(NotAuthenticated):
    """The auth service does not accept the token: expired, revoked, forged, of the wrong type or for somebody else."""

    code = "VALIDATION_FAILED"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnifiedAuthenticationService:
    """Asks ``POST /auth/validate`` with this service's own credentials."""

    def __init__(self, client: httpx.AsyncClient, *, service_id: str, service_secret: Callable[[], str]) -> None:
        self._client = client
        self._service_id = service_id
        self._service_secret = service_secret

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-Service-ID": self._service_id, "X-Service-Secret": self._service_secret()}

    async def authenticate_token(self, token: str | None, *, token_type: str = "access") -> Principal:
        """The user behind `token`.

        Raises:
            NoToken, MalformedToken, TokenRefused: it names no user here.
            DependencyDown: the auth service does not answer; nobody is let in meanwhile.
        """
        if not token:
            raise NoToken("Authentication is required: send a bearer token.")
        claimed = self._check_format(token)
        answer = await self._ask(token, token_type)
        return self._principal(answer, token, claimed)

    async def authenticate_websocket(
        self, headers: Mapping[str, str], subprotocols: Sequence[str], query: Mapping[str, str]
    ) -> Principal:
        """The user behind a handshake: header, ``jwt.`` subprotocol or query; the first that is present decides."""
        return await self.authenticate_token(token_of_handshake(headers, subprotocols, query))

    async def health(self) -> dict[str, Any]:
        """Whether the auth service answers."""
        try:
            response = await self._client.get("/health", timeout=2.0)
        except httpx.HTTPError as error:
            return {"status": "unhealthy", "error": type(error).__name__}
        return {"status": "healthy" if response.status_code == 200 else "unhealthy"}

    def _check_format(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH or not _JWT.fullmatch(token):
            raise MalformedToken("The token is not a JWT: send the access token exactly as it was issued.")
        try:
            claims = json.loads(_decoded(token.split(".")[1]))
        except ValueError as error:
            raise MalformedToken("The token cannot be decoded: send it exactly as it was issued.") from error
        if not isinstance(claims, dict):
            raise MalformedToken("The token carries no claims: send it exactly as it was issued.")
        return claims

    async def _ask(self, token: str, token_type: str) -> Mapping[str, Any]:
        try:
            response = await self._client.post(
                "/auth/validate", json={"token": token, "token_type": token_type}, headers=self._headers
            )
        except httpx.HTTPError as error:
            raise AuthenticationOutage() from error
        if response.status_code in (401, 403):
            raise DependencyDown("The auth service refuses this backend: check SERVICE_ID and SERVICE_SECRET.")
        if response.status_code != 200:
            raise AuthenticationOutage()
        answer = response.json()
        return answer if isinstance(answer, dict) else {}

    def _principal(self, answer: Mapping[str, Any], token: str, claimed: Mapping[str, Any]) -> Principal:
        user_id = answer.get("user_id")
        if answer.get("valid") is not True or not isinstance(user_id, str) or not user_id:
            reason = str(answer.get("error") or "invalid_token")
            raise TokenRefused("The token was not accepted; sign in again or refresh it.", reason=reason)
        if claimed.get("sub") != user_id:
            raise TokenRefused("The token was answered for somebody else; sign in again.", reason="subject_mismatch")
        return Principal(
            user_id=user_id,
            email=str(answer.get("email") or ""),
            permissions=tuple(str(item) for item in answer.get("permissions") or ()),
            expires_at=_as_epoch(answer.get("expires_at")),
            token=token,
        )


class AuthenticationOutage(DependencyDown):
    """The auth service does not answer."""

    code = "AUTH_SERVICE_UNAVAILABLE"

    def __init__(self) -> None:
        BackendError.__init__(self, "Sign-in cannot be checked at the moment; try again shortly.")


def token_of_handshake(headers: Mapping[str, str], subprotocols: Sequence[str], query: Mapping[str, str]) -> str | None:
    """The token that a handshake brings, or None; a token that cannot be decoded is returned as it came."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme:
        return credentials.strip() if scheme.lower() == "bearer" else "not-a-bearer-token"
    for protocol in subprotocols:
        if protocol.startswith("jwt."):
            try:
                return _decoded(protocol.removeprefix("jwt.")).decode("ascii")
            except ValueError:
                return protocol
    return query.get("token") or None


def bearer_token(authorization: str | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header, or None."""
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip() or None if scheme.lower() == "bearer" else None


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _as_epoch(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
