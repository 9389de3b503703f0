"""Reading a frame: every envelope seen on Netra deployments, as one model.

There is no single envelope in the wild. The name is in ``event``, ``data.event``, ``type`` or ``event_type``; the body in
``payload``, ``data`` or flat at the root; ids in the root, the body or ``user_context``. A frame that fits nothing keeps
its raw text and the shape ``unknown``; reading never raises.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

#: One run in order; a thinking, tool or partial event may repeat, tool events come in pairs.
RUN_EVENTS = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "partial_result",
    "agent_completed",
    "final_report",
)
CRITICAL_EVENTS = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")
ID_FIELDS = ("user_id", "thread_id", "run_id", "turn_id", "message_id", "connection_id", "request_id")

#: Words that only wrap the real event name, which is then in ``data.event`` or ``payload.event``.
_WRAPPERS = {"system_message", "agent_progress", "agent_update", "message", "event"}
_SYNONYMS = {
    "agent_response_complete": "agent_completed",
    "tool_started": "tool_executing",
    "connect": "connection_established",
    "error_message": "error",
    "agent_fallback": "agent_error",
}
_decode = msgspec.json.Decoder().decode


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame, read.

    Arguments:
        name: the event's canonical name (``agent_started``, ``pong``, ``connection_established``, ``error``, …), or "".
        shape: which envelope it came in: ``payload``, ``data``, ``flat``, ``wrapped``, ``event_type`` or ``unknown``.
        ids: ids found in root, body or ``user_context``; the first of these places wins.
        body: the body, or an empty mapping.
        sequence: a per-run sequence number, where the producer sends one.
        run: what ties the events of one run together: the run id, else the turn id, else "".
    """

    name: str
    shape: str
    ids: dict[str, str]
    body: Json
    sequence: int | None = None

    @property
    def run(self) -> str:
        return self.ids.get("run_id") or self.ids.get("turn_id") or ""


UNREADABLE = Frame(name="", shape="unknown", ids={}, body={})


def read_frame(text: str | bytes) -> Frame:
    """Read one frame of any dialect; ``UNREADABLE`` when it is not a JSON object.

    >>> read_frame('{"type":"agent_started","run_id":"run_1","payload":{"status":"ok"}}').name
    'agent_started'
    >>> read_frame('{"type":"system_message","data":{"event":"connection_established"}}').name
    'connection_established'
    """
    try:
        root = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNREADABLE
    if not isinstance(root, dict):
        return UNREADABLE
    payload, data = root.get("payload"), root.get("data")
    kind = _text(root.get("type"))
    if isinstance(payload, dict):
        body, shape = payload, "payload"
    elif isinstance(data, dict):
        body, shape = data, "data"
    else:
        body, shape = root, "flat"
    inner = _text(root.get("event")) or (_text(body.get("event")) if body is not root else "")
    name = inner if inner and (not kind or kind in _WRAPPERS or root.get("event")) else kind
    if inner and kind in _WRAPPERS:
        shape = "wrapped"
    if not name:
        name = _text(root.get("event_type"))
        shape = "event_type" if name else "unknown"
    elif not kind and root.get("event_type"):
        shape = "event_type"
    context = root.get("user_context")
    ids: dict[str, str] = {}
    for place in (root, body, context if isinstance(context, dict) else root):
        for field in ID_FIELDS:
            value = place.get(field)
            if field not in ids and isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                ids[field] = str(value)
    sequence = next(
        (
            value
            for value in (root.get("seq"), body.get("seq"), root.get("sequence"), body.get("sequence"))
            if isinstance(value, int) and not isinstance(value, bool)
        ),
        None,
    )
    return Frame(name=_SYNONYMS.get(name, name), shape=shape, ids=ids, body=body, sequence=sequence)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
