"""A handshake that loses its patience: five bad tokens in a row, and for a while nobody gets in (netra-wire §1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from starlette.websockets import WebSocket

from netra_probe.lab.backend.errors import BackendError

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 30.0


class BreakerOpen(BackendError):
    """The handshake is shut for everybody, whatever their token."""

    status = 403
    code = "AUTH_CIRCUIT_BREAKER_OPEN"


def with_breaker(healthy: type[Any]) -> type[Any]:
    """The healthy gate behind a breaker that counts refusals of whoever comes, and forgets them when one is let in."""

    class ImpatientWebSocketAuth(healthy):  # type: ignore[misc]
        """Shuts out everybody for 30 s after five refusals in a row."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._failures = 0
            self._shut_until = 0.0

        async def _identify(self, websocket: WebSocket, offered: Sequence[str]) -> Any:
            if time.monotonic() < self._shut_until:
                raise BreakerOpen("Too many failed handshakes; try again in half a minute.")
            try:
                principal = await super()._identify(websocket, offered)
            except BackendError:
                self._failures += 1
                if self._failures >= FAILURES_TO_OPEN:
                    self._failures, self._shut_until = 0, time.monotonic() + OPEN_SECONDS
                raise
            self._failures = 0
            return principal

    return ImpatientWebSocketAuth
