"""JITTER: every event is a little late, each user's by another time, so that users' events interleave in all orders."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register

EMITTED_SECONDS = 0.02
DELIVERED_SECONDS = 0.03


@register
class Jitter(Fault):
    """JITTER: events are late by a random time, before they are kept and before they are sent.

    Incident: any network, any busy process.
    """

    id = "JITTER"
    layer = "condition"
    title = "legal delays: users' events interleave in all orders"
    breaks = "nothing"
    trigger = "each event"
    symptom = "none"
    kind = "condition"

    def install(self, parts: Parts) -> None:
        """Let the emitter and the session wait, each for itself, where they wait anyway."""
        fault, chance = self, random.Random()
        emitter: type[Any] = parts["UserWebSocketEmitter"]
        session: type[Any] = parts["WebSocketSession"]

        async def wait(most: float) -> None:
            fault.reached()
            if fault.fires():
                fault.triggered()
                await asyncio.sleep(chance.uniform(0.0, most))

        class LateEmitter(emitter):  # type: ignore[misc]
            async def _send(self, event: Mapping[str, Any]) -> None:
                await wait(EMITTED_SECONDS)
                await super()._send(event)

        class LateSession(session):  # type: ignore[misc]
            async def _deliver(self, batch: Sequence[Any]) -> None:
                await wait(DELIVERED_SECONDS)
                await super()._deliver(batch)

        parts["UserWebSocketEmitter"], parts["WebSocketSession"] = LateEmitter, LateSession
