"""UnifiedWebSocketAuth: a handshake becomes an accepted socket with a known user, or a clear refusal.

Refusal: the handshake is accepted, one ``error_message`` frame says why, then close 1008 (1011 when the auth service
does not answer). A browser page of a foreign origin does not even get its handshake: HTTP 403.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.websockets import WebSocket

from .errors import BackendError, DependencyDown
from .unified_authentication_service import Principal, TokenRefused, UnifiedAuthenticationService
from .websocket_core.frames import error_frame

SUBPROTOCOL = "jwt-auth"


class UnifiedWebSocketAuth:
    """Origin, token, subprotocol; the only gate in front of a socket."""

    def __init__(self, authentication: UnifiedAuthenticationService, *, frontend_url: str) -> None:
        self._authentication = authentication
        self._frontend_url = frontend_url

    async def authenticate(self, websocket: WebSocket) -> Principal | None:
        """Accept the socket and return its user, or refuse it and return None."""
        if not self.origin_allowed(websocket.headers):
            await websocket.close()
            return None
        offered: list[str] = list(websocket.scope.get("subprotocols", ()))
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            return await self._authentication.authenticate_websocket(websocket.headers, offered, websocket.query_params)
        except BackendError as refusal:
            details = {"reason": refusal.reason} if isinstance(refusal, TokenRefused) else {}
            await websocket.send_text(error_frame(refusal.code, refusal.message, details))
            await websocket.close(1011 if isinstance(refusal, DependencyDown) else 1008, refusal.code)
            return None

    def origin_allowed(self, headers: Headers) -> bool:
        """True for the front end and for clients that are no browser (no Origin header)."""
        origin = headers.get("origin")
        return origin is None or origin.rstrip("/") == self._frontend_url
