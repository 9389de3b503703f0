"""SocketTickets: a browser cannot put a header on a socket; a ticket lets it in once, and no token gets into a URL.

    ticket = await tickets.issue(principal)                 # POST /api/websocket/ticket
    token = await tickets.redeem(ticket.ticket_id)          # /ws?ticket=…, once, on either backend

Key: ``user:{uid}:socket_ticket:{hash}`` for half a minute. The token is sealed with the ticket's secret, of which
Redis keeps a hash only: whoever reads Redis finds neither a ticket nor a token.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from redis.exceptions import RedisError

from netra_probe.lab.backend.errors import DependencyDown
from netra_probe.lab.backend.unified_authentication_service import Principal, TokenRefused
from netra_probe.lab.shared.clock import clock

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
