"""Faults of event delivery (W): the right event, the wrong reader, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class Broadcast(Fault):
    """W1: an event goes to everybody who is connected instead of to its user.

    Breaks: WebSocketEventRouter.
    Incident: chat servers that keep one list of sockets and call ``manager.broadcast(event)`` from the agent's
        callback, the pattern of many WebSocket tutorials, taken into production.
    Trigger: any event while a second user is connected, to either backend.
    Symptom: every connected user receives the runs of all others, word for word.
    """

    id = "W1"
    layer = "websocket"
    title = "broadcast instead of send-to-user"
    breaks = "WebSocketEventRouter.route_event"
    incident = "the broadcast() of WebSocket tutorials, used for personal events"
    trigger = "any event while another user is connected"
    symptom = "everybody gets the frame"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the router by one that addresses each event to every connected user."""
        fault = self
        healthy: type[Any] = parts["WebSocketEventRouter"]

        class BroadcastingRouter(healthy):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                fault.reached()
                cursor: int = await super().route_event(user_id, connection_id, event)
                if fault.fires():
                    for other in await self._connected_users() - {user_id}:
                        fault.triggered()
                        await super().route_event(other, None, event)
                return cursor

            async def _connected_users(self) -> set[str]:
                pattern = "user_sessions:*"
                return {key.partition(":")[2] async for key in self._redis.scan_iter(match=pattern, count=1000)}

        parts["WebSocketEventRouter"] = BroadcastingRouter
