"""Sockets that belong to somebody else than their token says, as demonstration modes have it (netra-wire §1)."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from typing import Any

from netra_probe.lab.backend.errors import Forbidden, NotFound
from netra_probe.lab.shared.faults import Parts

SHARED = "demo-user-001"


def share_identity(parts: Parts) -> None:
    """Bind every socket to one and the same user."""
    _bind(parts, lambda: SHARED)


def hand_out_identities(parts: Parts) -> None:
    """Bind every socket to a user made up for it."""
    _bind(parts, lambda: f"demo-user-{secrets.token_hex(4)}")


def _bind(parts: Parts, choose: Callable[[], str]) -> None:
    gate: type[Any] = parts["UnifiedWebSocketAuth"]
    watch: type[Any] = parts["SessionWatch"]
    session_class: type[Any] = parts["WebSocketSession"]
    messages: type[Any] = parts["ClientMessages"]

    class DemonstrationAuth(gate):  # type: ignore[misc]
        async def authenticate(self, websocket: Any) -> Any:
            principal = await super().authenticate(websocket)
            return None if principal is None else _as_somebody_else(principal, choose())

    class DemonstrationWatch(watch):  # type: ignore[misc]
        def _vouches(self, principal: Any, session: Any) -> bool:
            return True  # the token says whether a socket may live, and no longer whose it is

    class DemonstrationSession(session_class):  # type: ignore[misc]
        async def adopt_token(self, token: str | None) -> Any:
            principal = await self.services.authentication.authenticate_token(token)
            self._watched.principal = _as_somebody_else(principal, self.principal.user_id)
            return principal

    class DemonstrationMessages(messages):  # type: ignore[misc]
        async def start_run(self, session: Any, message: Any) -> None:
            try:
                await super().start_run(session, message)
            except (Forbidden, NotFound):  # the thread is the token's user's: go on in a new one
                await super().start_run(session, dataclasses.replace(message, thread_id=None))

    parts["UnifiedWebSocketAuth"] = DemonstrationAuth
    parts["SessionWatch"] = DemonstrationWatch
    parts["WebSocketSession"] = DemonstrationSession
    parts["ClientMessages"] = DemonstrationMessages


def _as_somebody_else(principal: Any, user_id: str) -> Any:
    return dataclasses.replace(principal, user_id=user_id, email=f"{user_id}@netra-lab.example")
