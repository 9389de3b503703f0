"""Reading a frame: every envelope seen on Netra deployments, as one model.

There is no single envelope in the wild. The name is in ``event``, ``data.event``, ``type`` or ``event_type``; the body
in ``payload``, ``data`` or flat at the root; ids in the root, the body or ``user_context``. A frame that fits nothing
keeps its raw text and the shape ``unknown``; reading never raises.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import UNDECODABLE, decoded, number

Json: TypeAlias = dict[str, Any]
#: When something was produced, as producers say it: ISO text, or a number of seconds or milliseconds.
Stamp: TypeAlias = str | float | None
#: A number beyond this counts milliseconds.
MILLISECONDS = 1e11

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
#: Every known name to its canonical one; one object for each, which makes comparing them cheap.
_CANONICAL = {
    **{name: name for name in RUN_EVENTS},
    "agent_response_complete": "agent_completed",
    "tool_started": "tool_executing",
    "connect": "connection_established",
    "error_message": "error",
    "agent_fallback": "agent_error",
}

_Scalar: TypeAlias = str | int | float | bool | list[Any] | None


class _Ids(msgspec.Struct, frozen=True, gc=False):
    """The ids that root, body and ``user_context`` may each carry; of any type, since nothing may make reading fail."""

    user_id: Any = None
    thread_id: Any = None
    run_id: Any = None
    turn_id: Any = None
    message_id: Any = None
    connection_id: Any = None
    request_id: Any = None


class _Body(_Ids, frozen=True, gc=False):
    """What is read of a body; everything else in it is skipped without building it."""

    event: Any = None
    event_id: Any = None
    seq: Any = None
    sequence: Any = None
    timestamp: Any = None
    tool_name: Any = None
    tool: Any = None
    status: Any = None


class _Root(_Body, frozen=True, gc=False):
    type: Any = None
    event_type: Any = None
    payload: _Body | _Scalar = None
    data: _Body | _Scalar = None
    user_context: _Ids | _Scalar = None


_decode_root = msgspec.json.Decoder(_Root).decode


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame, read.

    Arguments:
        name: the event's canonical name (``agent_started``, ``pong``, ``connection_established``, ``error``, …), or "".
        shape: which envelope it came in: ``payload``, ``data``, ``flat``, ``wrapped``, ``event_type`` or ``unknown``.
        ids: ids found in root, body or ``user_context``; the first of these places wins.
        text: the frame as it came.
        sequence: a per-run sequence number, where the producer sends one.
        timestamp: the producer's time, ISO text or a number, where it sends one.
    """

    name: str
    shape: str
    ids: dict[str, str]
    text: str | bytes = ""
    sequence: int | None = None
    timestamp: Stamp = None
    _root: _Root = _Root()
    _body: _Body = _Body()

    def __repr__(self) -> str:
        return f"<Frame {self.name or self.shape} {' '.join(self.ids.values())}>".replace(" >", ">")

    @property
    def run(self) -> str:
        """What ties the events of one run together: the run id, else the turn id, else ""."""
        return self.ids.get("run_id") or self.ids.get("turn_id") or ""

    @property
    def event_id(self) -> str:
        """The event's own id, where the producer sends one."""
        return _text(self._root.event_id) or _text(self._body.event_id)

    @property
    def tool(self) -> str:
        """The tool that a tool event is about."""
        return _text(self._body.tool_name) or _text(self._body.tool)

    @property
    def status(self) -> str:
        """The body's ``status``, such as ``completed`` or ``cancelled``."""
        return _text(self._body.status)

    @property
    def body(self) -> Json:
        """The whole body, decoded when asked for: most readers need only what is above."""
        root = decoded(self.text)
        if not isinstance(root, dict):
            return {}
        for name in ("payload", "data"):
            if isinstance(root.get(name), dict):
                body: Json = root[name]
                return body
        return root


UNREADABLE = Frame("", "unknown", {})


def read_frame(text: str | bytes, ids: dict[str, str] | None = None) -> Frame:
    """Read one frame of any dialect; a nameless frame of shape ``unknown`` when it is not a JSON object.

    ``ids``, where they are already known from recording the frame, spare the search for them.

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
    if root.payload.__class__ is _Body:
        body, shape = root.payload, "payload"
    elif root.data.__class__ is _Body:
        body, shape = root.data, "data"
    else:
        body, shape = root, "flat"
    name, sequence, timestamp = root.type, root.seq, root.timestamp
    if root.event is not None or body.event is not None or name.__class__ is not str or not name:
        name, shape = _named(root, body, shape)
    if sequence.__class__ is not int:
        sequence = None
        for value in (body.seq, root.sequence, body.sequence):
            if value.__class__ is int:
                sequence = value
                break
    if timestamp is None:
        timestamp = body.timestamp
    if timestamp is not None and timestamp.__class__ is not str and number(timestamp) is None:
        timestamp = None
    return Frame(_CANONICAL.get(name, name), shape, ids or _ids_of(root, body), text, sequence, timestamp, root, body)


_values_of_ids = attrgetter(*ID_FIELDS)
_NO_IDS = _values_of_ids(_Ids())


def _named(root: _Root, body: _Body, shape: str) -> tuple[str, str]:
    """The name where it is not simply the type, and the shape that this makes."""
    kind = _text(root.type)
    inner = _text(root.event) or _text(body.event)
    name = inner if inner and (not kind or kind in _WRAPPERS or root.event) else kind
    if inner and kind in _WRAPPERS:
        shape = "wrapped"
    if not name:
        name = _text(root.event_type)
        return name, "event_type" if name else "unknown"
    return name, "event_type" if not kind and root.event_type else shape


def _ids_of(root: _Root, body: _Body) -> dict[str, str]:
    ids: dict[str, str] = {}
    for place in (root.user_context, root) if body is root else (root.user_context, body, root):
        if isinstance(place, _Ids):
            values = _values_of_ids(place)
            if values != _NO_IDS:
                for field, value in zip(ID_FIELDS, values, strict=True):
                    if (value.__class__ is str and value) or value.__class__ is int:
                        ids[field] = str(value)
    return ids


def _text(value: object) -> str:
    return value if value.__class__ is str else ""


def frame_of(operation: Operation) -> Frame:
    """The frame in an operation's payload."""
    return read_frame(operation.payload, operation.ids)
