"""UnifiedAuthenticationService: the only place where a token becomes a user, for REST and for sockets alike.

    principal = await authentication.authenticate_token(token)

The auth service decides, over HTTP, every time: nothing is cached, so a revocation counts from the next request on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from cryptography.fernet import Fernet, InvalidToken
from redis.exceptions import RedisError
from starlette.datastructures import Headers
from starlette.websockets import WebSocket

from netra_probe.lab.backend.errors import BackendError, DependencyDown, NotAuthenticated
from netra_probe.lab.backend.websocket_core.frames import error_frame
from netra_probe.lab.shared.clock import clock

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


_PASSED_BACK = ("retry-after", "www-authenticate")


@dataclass(frozen=True, kw_only=True)
class ProxiedAnswer:
    """What the auth service answered."""

    status: int
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


class AuthProxy:
    """Passes requests on with this service's credentials."""

    def __init__(self, client: httpx.AsyncClient, *, service_id: str, service_secret: Callable[[], str]) -> None:
        self._client = client
        self._service_id = service_id
        self._service_secret = service_secret

    async def send(
        self,
        method: str,
        path: str,
        *,
        address: str,
        user_agent: str = "",
        authorization: str | None = None,
        body: Any = None,
    ) -> ProxiedAnswer:
        """One request on behalf of a caller.

        Raises:
            DependencyDown: the auth service does not answer, or not as expected.
        """
        headers = {
            "X-Service-ID": self._service_id,
            "X-Service-Secret": self._service_secret(),
            "X-Client-Address": address,
            "User-Agent": user_agent,
        }
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise AuthenticationOutage() from error
        passed = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return ProxiedAnswer(status=answer.status_code, body=content, headers=passed)


TICKET_SECONDS = 30
MAX_TICKET_LENGTH = 300


@dataclass(frozen=True, kw_only=True)
class SocketTicket:
    """A ticket as its owner gets it."""

    ticket_id: str
    expires_at: float


class SocketTickets:
    """Issues tickets and takes them back, each once."""

    def __init__(self, redis: Any, *, seconds: int = TICKET_SECONDS) -> None:
        self._redis = redis
        self._seconds = seconds

    async def issue(self, principal: Principal) -> SocketTicket:
        """A ticket that stands for the principal's token; what revokes the token makes the ticket worthless."""
        secret = secrets.token_urlsafe(32)
        sealed = _seal(secret).encrypt(principal.token.encode()).decode()
        lifetime = self._seconds
        if principal.expires_at is not None:
            lifetime = max(1, min(lifetime, int(principal.expires_at - clock.now())))
        await self._redis.set(_key(principal.user_id, secret), sealed, ex=lifetime)
        return SocketTicket(ticket_id=f"{principal.user_id}.{secret}", expires_at=clock.now() + lifetime)

    async def redeem(self, ticket_id: str) -> str:
        """The token behind a ticket, once.

        Raises:
            TokenRefused: there is no such ticket, or none any more.
            DependencyDown: it cannot be looked up.
        """
        user_id, _, secret = ticket_id.rpartition(".")
        sealed: str | None = None
        if user_id and secret and len(ticket_id) <= MAX_TICKET_LENGTH and ticket_id.isascii():
            try:
                sealed = await self._redis.getdel(_key(user_id, secret))
            except (RedisError, OSError) as error:
                raise DependencyDown("Tickets cannot be checked at the moment; try again shortly.") from error
        try:
            return _seal(secret).decrypt((sealed or "").encode()).decode()
        except InvalidToken:
            raise TokenRefused(
                "The ticket is not valid any more; ask for another one.", reason="invalid_ticket"
            ) from None


def _key(user_id: str, secret: str) -> str:
    return f"user:{user_id}:socket_ticket:{hashlib.sha256(secret.encode()).hexdigest()[:32]}"


def _seal(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"seal|" + secret.encode("utf-8", "replace")).digest()))


SUBPROTOCOL = "jwt-auth"


class UnifiedWebSocketAuth:
    """Origin, token or ticket, subprotocol; the only gate in front of a socket."""

    def __init__(
        self,
        authentication: UnifiedAuthenticationService,
        *,
        frontend_url: str,
        tickets: SocketTickets | None = None,
    ) -> None:
        self._authentication = authentication
        self._frontend_url = frontend_url
        self._tickets = tickets

    async def authenticate(self, websocket: WebSocket) -> Principal | None:
        """Accept the socket and return its user, or refuse it and return None."""
        if not self.origin_allowed(websocket.headers):
            await websocket.close()
            return None
        offered: list[str] = list(websocket.scope.get("subprotocols", ()))
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            return await self._identify(websocket, offered)
        except BackendError as refusal:
            details = {"reason": refusal.reason} if isinstance(refusal, TokenRefused) else {}
            await websocket.send_text(error_frame(refusal.code, refusal.message, details))
            await websocket.close(1011 if isinstance(refusal, DependencyDown) else 1008, refusal.code)
            return None

    async def _identify(self, websocket: WebSocket, offered: Sequence[str]) -> Principal:
        """The user of a token, wherever it is; failing that, of a ticket."""
        headers, query = websocket.headers, websocket.query_params
        ticket = query.get("ticket")
        if ticket and self._tickets is not None and token_of_handshake(headers, offered, query) is None:
            return await self._authentication.authenticate_token(await self._tickets.redeem(ticket))
        return await self._authentication.authenticate_websocket(headers, offered, query)

    def origin_allowed(self, headers: Headers) -> bool:
        """True for the front end and for clients that are no browser (no Origin header)."""
        origin = headers.get("origin")
        return origin is None or origin.rstrip("/") == self._frontend_url
