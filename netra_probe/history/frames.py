"""Reading a frame: every envelope seen on Netra deployments, as one model.

There is no single envelope in the wild. The name is in ``event``, ``data.event``, ``type`` or ``event_type``; the body
in ``payload``, ``data`` or flat at the root; ids in the root, the body or ``user_context``. A frame that fits nothing
keeps its raw text and the shape ``unknown``; reading never raises.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from netra_probe.history.operation import Operation

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

_Scalar: TypeAlias = str | int | float | bool | list[Any] | None


class _Ids(msgspec.Struct):
    """The ids that root, body and ``user_context`` may each carry; of any type, since nothing may make reading fail."""

    user_id: Any = None
    thread_id: Any = None
    run_id: Any = None
    turn_id: Any = None
    message_id: Any = None
    connection_id: Any = None
    request_id: Any = None


class _Body(_Ids):
    """What is read of a body; everything else in it is skipped without building it."""

    event: Any = None
    event_id: Any = None
    seq: Any = None
    sequence: Any = None
    timestamp: Any = None
    tool_name: Any = None
    tool: Any = None
    status: Any = None


class _Root(_Body):
    type: Any = None
    event_type: Any = None
    payload: _Body | _Scalar = None
    data: _Body | _Scalar = None
    user_context: _Ids | _Scalar = None


_decode_any = msgspec.json.Decoder().decode
_decode_root = msgspec.json.Decoder(_Root).decode
#: What decoding raises on what is not JSON, not text, or nested beyond reason.
UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame, read.

    Arguments:
        name: the event's canonical name (``agent_started``, ``pong``, ``connection_established``, ``error``, …), or "".
        shape: which envelope it came in: ``payload``, ``data``, ``flat``, ``wrapped``, ``event_type`` or ``unknown``.
        ids: ids found in root, body or ``user_context``; the first of these places wins.
        text: the frame as it came.
        sequence: a per-run sequence number, where the producer sends one.
        timestamp: the producer's time, ISO text or a number, where it sends one.
        event_id: the event's own id, where the producer sends one.
        tool: the tool that a tool event is about.
        status: the body's ``status``, such as ``completed`` or ``cancelled``.
    """

    name: str
    shape: str
    ids: dict[str, str]
    text: str | bytes = ""
    sequence: int | None = None
    timestamp: str | float | None = None
    event_id: str = ""
    tool: str = ""
    status: str = ""

    @property
    def run(self) -> str:
        """What ties the events of one run together: the run id, else the turn id, else ""."""
        return self.ids.get("run_id") or self.ids.get("turn_id") or ""

    @property
    def body(self) -> Json:
        """The whole body, decoded when asked for: most readers need only what is above."""
        try:
            root = _decode_any(self.text)
        except UNDECODABLE:
            return {}
        if not isinstance(root, dict):
            return {}
        for name in ("payload", "data"):
            if isinstance(root.get(name), dict):
                body: Json = root[name]
                return body
        return root


UNREADABLE = Frame(name="", shape="unknown", ids={})


def read_frame(text: str | bytes) -> Frame:
    """Read one frame of any dialect; a nameless frame of shape ``unknown`` when it is not a JSON object.

    >>> read_frame('{"type":"agent_started","run_id":"run_1","payload":{"status":"ok"}}').name
    'agent_started'
    >>> read_frame('{"type":"system_message","data":{"event":"connection_established"}}').name
    'connection_established'
    """
    try:
        root = _decode_root(text)
    except UNDECODABLE:
        return UNREADABLE
    body: _Body
    if isinstance(root.payload, _Body):
        body, shape = root.payload, "payload"
    elif isinstance(root.data, _Body):
        body, shape = root.data, "data"
    else:
        body, shape = root, "flat"
    kind = _text(root.type)
    inner = _text(root.event) or _text(body.event)
    name = inner if inner and (not kind or kind in _WRAPPERS or root.event) else kind
    if inner and kind in _WRAPPERS:
        shape = "wrapped"
    if not name:
        name = _text(root.event_type)
        shape = "event_type" if name else "unknown"
    elif not kind and root.event_type:
        shape = "event_type"
    ids: dict[str, str] = {}
    if isinstance(root.user_context, _Ids):
        _gather(root.user_context, ids)
    if body is not root:
        _gather(body, ids)
    _gather(root, ids)
    sequence = next(
        (
            value
            for value in (root.seq, body.seq, root.sequence, body.sequence)
            if isinstance(value, int) and not isinstance(value, bool)
        ),
        None,
    )
    timestamp = root.timestamp if root.timestamp is not None else body.timestamp
    return Frame(
        name=_SYNONYMS.get(name, name),
        shape=shape,
        ids=ids,
        text=text,
        sequence=sequence,
        timestamp=timestamp if isinstance(timestamp, str | int | float) else None,
        event_id=_text(root.event_id) or _text(body.event_id),
        tool=_text(body.tool_name) or _text(body.tool),
        status=_text(body.status),
    )


def _gather(place: _Ids, ids: dict[str, str]) -> None:
    for field in ID_FIELDS:
        value = getattr(place, field)
        if value is not None and value != "" and isinstance(value, str | int) and not isinstance(value, bool):
            ids[field] = str(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


_last: tuple[object, Frame] = (None, UNREADABLE)


def frame_of(operation: Operation) -> Frame:
    """The frame in an operation's payload, read once however many checkers ask for it in a row."""
    global _last
    known, frame = _last
    if known is operation:
        return frame
    frame = read_frame(operation.payload)
    _last = (operation, frame)
    return frame
