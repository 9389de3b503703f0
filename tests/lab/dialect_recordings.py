"""A recording of the contract, said again in a dialect: what a deployment of that dialect would have said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation
from netra_probe.history.store import History, Recorder
from netra_probe.lab import Variant
from netra_probe.lab.backend.dialects.boundary import Conversation
from netra_probe.lab.backend.dialects.envelopes import NAMES_ITS_USER, USER_CONTEXT

#: No event of theirs names its run, so that who asks does not get to know it either.
NAMES_NO_RUN = frozenset({"factory", "server", "agent-request", "fallback"})


async def in_dialect(source: Path, dialect: str, target: Path) -> Path:
    """Record the recording `source` once more, every frame as a backend of a dialect sends it."""
    operations = list(History.open(source))
    users = {one.user: one.ids["user_id"] for one in operations if one.action == actions.PRINCIPAL}
    owners = {
        one.ids["run_id"]: users[one.user] for one in operations if one.action == actions.ASK and "run_id" in one.ids
    }
    recorder = Recorder(target)
    for one in operations:
        if one.action == actions.END:
            continue
        fields = {name: getattr(one, name) for name in one.__struct_fields__ if name not in ("index", "time")}
        if one.action == actions.RECEIVE:
            fields["payload"] = await _said(one, dialect, owners)
            fields["ids"] = read_frame(fields["payload"]).ids
        elif one.action == actions.ASK and dialect in NAMES_NO_RUN:
            fields["ids"] = {name: id for name, id in one.ids.items() if name != "run_id"}
        recorder.append(**fields)
    return recorder.close()


async def _said(frame: Operation, dialect: str, owners: dict[str, str]) -> str:
    """What the edge of a backend makes of a frame; in some dialects the emitter leaves word of its user."""
    body: dict[str, Any] = msgspec.json.decode(frame.payload)
    owner = owners.get(body.get("run_id") or "")
    if owner and dialect in NAMES_ITS_USER:
        body[USER_CONTEXT] = {"user_id": owner, "request_id": f"req_{body['run_id']}"}
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(str(message.get("text", "")))

    async def receive() -> Any:
        raise AssertionError("nobody says anything here")

    edge = Conversation(receive, send, variant=Variant(dialect=dialect), server=frame.backend or "backend-1")
    await edge.send({"type": "websocket.accept"})
    await edge.send({"type": "websocket.send", "text": json.dumps(body)})
    return sent[-1]
