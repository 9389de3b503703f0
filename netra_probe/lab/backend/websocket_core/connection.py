"""What a handler of client messages may ask of the connection that a message came over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from netra_probe.lab.backend.services import Services
from netra_probe.lab.backend.unified_authentication_service import Principal


class Connection(Protocol):
    """One authenticated socket. ``WebSocketSession`` is the real one."""

    connection_id: str
    services: Services

    @property
    def principal(self) -> Principal:
        """The user that the connection belongs to."""

    async def send(self, text: str) -> None:
        """Send one frame."""

    async def send_event(
        self, kind: str, thread_id: str | None, payload: Mapping[str, Any], *, answers: str | None = None
    ) -> None:
        """Send an event to this connection alone; `answers` is the id of the request."""

    async def adopt_token(self, token: str | None) -> Principal:
        """Continue with a new token of the same user."""
