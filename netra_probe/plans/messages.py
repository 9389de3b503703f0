"""Client messages that name something, and the mark of an attempt on what is somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.clients.replies import Closed, Silent
from netra_probe.clients.websocket import Received, Socket
from netra_probe.investigation.context import InvestigationContext
from netra_probe.investigation.users import User

#: Client messages by which a thread or run is followed or read, and the word for each attempt.
NAMING = {
    "subscribe": "subscribe to",
    "switch_thread": "switch to",
    "get_thread_history": "read the history of",
    "user_typing": "type in",
}


def foreign(attempt: str, kind: str, id: str, owner: User) -> dict[str, Any]:
    """What a recorded attempt says: what was tried, on which object, and whose that is."""
    return {"attempt": attempt, "object": {"kind": kind, "id": id}, "owner": owner.name, "expect": "refused"}


async def say(
    probe: InvestigationContext,
    socket: Socket,
    kind: str,
    named: Mapping[str, str],
    *,
    attempt: Mapping[str, Any] | None = None,
    id: str = "",
) -> Received | Silent | Closed:
    """Send a client message and wait for its answer: a frame with its id on it, an error, or about what was named."""
    start = len(socket.received)
    id = id or f"{socket.name}-{kind}-{start}"
    payload = {name: value for name, value in named.items() if value}
    message: dict[str, Any] = {"type": kind, "payload": payload, "message_id": id, **payload}
    await socket.send(message, attempt=attempt)
    return await socket.until(
        lambda frame: (
            frame.ids.get("message_id") == id
            or frame.name in ("error", "ack")
            or (not frame.run and bool(set(frame.ids.values()) & set(payload.values())))
        ),
        within=probe.timeouts.grace,
        start=start,
    )
