"""A fault of quotas (P5): whoever comes from the same address shares one quota."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register

_peer: ContextVar[str] = ContextVar("peer", default="")


class RememberPeer:
    """Middleware that knows, for the length of a request or a socket, from which address it came."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope.get("client"):
            _peer.set(scope["client"][0])
        await self._app(scope, receive, send)


@register
class QuotaByAddress(Fault):
    """P5: requests and messages are counted by the address that they come from, which is the proxy's.

    Incident: LibreChat #3915: a rate limiter behind a reverse proxy, with ``trust proxy`` not set: one busy user, and
        everybody gets 429.
    """

    id = "P5"
    layer = "pools"
    title = "rate limit keyed by the proxy's address"
    breaks = "RateLimiter"
    trigger = "A sends 600 messages over a socket (or 1200 requests) within ten seconds, then B, from the same address"
    symptom = "B is refused for what A has used up: RATE_LIMITED, 429"
    checkers = ("C11",)

    def install(self, parts: Parts) -> None:
        """Replace the limiter by one that also counts by address, and tell it the address."""
        from netra_probe.lab.backend.errors import RateLimited

        fault = self
        healthy: type[Any] = parts["RateLimiter"]

        class AddressLimiter(healthy):  # type: ignore[misc]
            async def check(self, user_id: str, endpoint: str, *, limit: int) -> None:
                await super().check(user_id, endpoint, limit=limit)
                fault.reached()
                if not (address := _peer.get()) or not fault.fires():
                    return
                try:
                    await super().check(address, endpoint, limit=limit)
                except RateLimited:
                    fault.triggered()
                    raise

        parts["RateLimiter"] = AddressLimiter
        parts["middleware"] = [RememberPeer, *parts["middleware"]]
