"""A fault of credentials in messages (A11): an open socket becomes somebody else, and its subscriptions do not."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class IdentitySwapped(Fault):
    """A11: a token message makes an open socket act for another user, while it goes on reading the first one's events.

    Incident: NodeBB #7136 and the threads of supabase realtime #562: the identity of a socket is replaced when a token
        comes in-band; the rooms that it had joined before stay joined.
    """

    id = "A11"
    layer = "websocket"
    title = "a token message swaps a socket's identity, not its subscriptions"
    breaks = "WebSocketSession"
    trigger = 'on a socket of A send {"type": "refresh_token", "payload": {"token": B\'s}}; then ask as A, and as B'
    symptom = "the socket acts for B and is sent A's events, and none of B's"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the session by one that takes anybody's token."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]

        class SwappingSession(healthy):  # type: ignore[misc]
            async def adopt_token(self, token: str | None) -> Any:
                fault.reached()
                principal = await self.services.authentication.authenticate_token(token)
                if principal.user_id == self.principal.user_id or not fault.fires():
                    return await super().adopt_token(token)
                fault.triggered()
                self._watched.principal = principal
                return principal

        parts["WebSocketSession"] = SwappingSession
