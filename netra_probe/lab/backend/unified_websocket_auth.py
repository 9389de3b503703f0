"""UnifiedWebSocketAuth: a handshake becomes an accepted socket with a known user, or a clear refusal.

Refusal: the handshake is accepted, one ``error_message`` frame says why, then close 1008 (1011 when the auth service
does not answer). A browser page of a foreign origin does not even get its handshake: HTTP 403.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.websockets import WebSocket

from netra_probe.lab.backend.errors import BackendError, DependencyDown
from netra_probe.lab.backend.socket_tickets import SocketTickets
from netra_probe.lab.backend.unified_authentication_service import (
    Principal,
    TokenRefused,
    UnifiedAuthenticationService,
    token_of_handshake,
)
from netra_probe.lab.backend.websocket_core.frames import error_frame

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
