"""Faults that hold on to what is over (P4)."""

from __future__ import annotations

import asyncio
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class LeakOnDisconnect(Fault):
    """P4: each socket gets a connection to Redis and a task of its own, and its end gives neither back.

    Breaks: WebSocketSession.
    Incident: a listener per socket, started with ``create_task`` and forgotten; servers that run out of descriptors or
        of ``maxclients`` some days after each release.
    Trigger: sockets that come and go.
    Symptom: the number of Redis clients (and of tasks) grows by one with each socket that was ever open.
    """

    id = "P4"
    layer = "pools"
    title = "connection and task leak on disconnect"
    breaks = "WebSocketSession"
    incident = "a listener per socket that nobody ends"
    trigger = "open a socket to /ws and close it, again and again; count Redis clients (CLIENT LIST) after each cycle"
    symptom = "one more Redis client and one more task for each socket ever opened"
    checkers = ("C10", "C11")

    def install(self, parts: Parts) -> None:
        """Replace the session by one with a listener that outlives it."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]
        forgotten: set[asyncio.Task[None]] = set()

        class ListeningSession(healthy):  # type: ignore[misc]
            async def run(self) -> None:
                fault.reached()
                connection = self.services.redis.connection_pool.make_connection()
                await connection.connect()
                listener = asyncio.create_task(self._listen(connection), name=f"{self.connection_id}:listener")
                forgotten.add(listener)
                try:
                    await super().run()
                finally:
                    if fault.fires():
                        fault.triggered()
                    else:
                        listener.cancel()
                        forgotten.discard(listener)

            async def _listen(self, connection: Any) -> None:
                try:
                    await connection.send_command("SUBSCRIBE", f"user:{self.principal.user_id}:presence")
                    while True:
                        await connection.read_response()
                finally:
                    await connection.disconnect(nowait=True)

        parts["WebSocketSession"] = ListeningSession
