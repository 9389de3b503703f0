"""Envelopes: one event of the contract, written the way each known producer writes it (netra-wire §6).

=================  ====================================================================================================
contract           ``{type, run_id, thread_id, agent_name, timestamp, seq, payload{}}``
bridge             ``{type, run_id, agent_name, timestamp: ISO, payload{}}``
emitter            ``{type, run_id, thread_id, agent_name, timestamp: float, payload{}}``
manager            ``{type, data{run_id, thread_id, …}, timestamp: float, critical, attempt}``
manager-context    the same with ``user_context{user_id, request_id}``
factory            ``{event_type, event_id, thread_id, data{}, timestamp: ISO}``
server             ``{type, data{}, timestamp: float, server_id, correlation_id}``, answers to pings too
agent-request      ``{type, data{event, user_id, turn_id, …}, timestamp: float}`` with the type ``system_message``,
                   ``agent_progress`` or ``agent_response_complete``
flat               ``{type, run_id, thread_id, agent_name, timestamp: ISO, …}``
fallback           ``{type, event, user_id, thread_id, timestamp: float, …}``
mixed              each event of a run from another of these producers
=================  ====================================================================================================

An id is where its producer has it and nowhere else; ``seq`` and ``cursor``, which only the lab has, are in none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Frame = dict[str, Any]

#: Key under which a producer that knows its user leaves word for these envelopes.
USER_CONTEXT = "user_context"

_CRITICAL = frozenset({"agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"})
_IDS = frozenset(
    {"user_id", "thread_id", "run_id", "turn_id", "message_id", "client_run_id", "connection_id", "request_id"}
)
_PROGRESS = frozenset({"agent_thinking", "tool_executing", "tool_completed", "partial_result"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of the contract, taken apart; `body` holds no ids when the event belongs to a run."""

    name: str
    timestamp: Any
    body: Frame = field(repr=False)
    run_id: str | None = None
    thread_id: str | None = None
    agent_name: str | None = None
    turn_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    identity: str = ""
    """The same for all copies of one event, different for different events."""

    @classmethod
    def of(cls, frame: Mapping[str, Any]) -> Event | None:
        """The event in a frame, or None when it is about the connection (a welcome, a pong, a refusal)."""
        if not isinstance(frame.get("payload"), dict) or "run_id" not in frame or "thread_id" not in frame:
            return None
        payload, run_id = frame["payload"], frame["run_id"]
        context = frame.get(USER_CONTEXT) or {}
        place = f"{run_id}|{frame.get('seq')}" if run_id else f"{frame['thread_id']}|{frame.get('cursor')}"
        return cls(
            name=str(frame["type"]),
            timestamp=frame.get("timestamp"),
            body=_without_ids(payload) if run_id else dict(payload),
            run_id=run_id,
            thread_id=frame["thread_id"],
            agent_name=frame.get("agent_name"),
            turn_id=payload.get("turn_id") or (f"turn_{_digest(run_id)[:12]}" if run_id else None),
            user_id=context.get("user_id"),
            request_id=context.get("request_id"),
            identity=_digest(f"{place}|{frame['type']}"),
        )

    @property
    def seconds(self) -> float:
        """The time as a number."""
        try:
            return datetime.fromisoformat(self.timestamp).timestamp()
        except (TypeError, ValueError):
            return time.time()

    def with_names(self, **names: str) -> Frame:
        """The body with some fields under the name that a producer prefers."""
        return {names.get(name, name): value for name, value in self.body.items()}


Encoder = Callable[[Event, str], Frame]
"""An event and the name of the server that sends it → a frame."""


def bridge(event: Event, server: str) -> Frame:
    """The agent bridge: the run at the root, no thread."""
    return _given(
        type=event.name,
        run_id=event.run_id,
        agent_name=event.agent_name,
        timestamp=event.timestamp,
        payload=event.with_names(thought="reasoning"),
    )


def emitter(event: Event, server: str) -> Frame:
    """The user emitter: the run and the thread at the root."""
    return _given(
        type=event.name,
        run_id=event.run_id,
        thread_id=event.thread_id,
        agent_name=event.agent_name,
        timestamp=event.seconds,
        payload=event.body,
    )


def manager(event: Event, server: str) -> Frame:
    """The connection manager: everything about the run inside of ``data``."""
    body = event.with_names(tool_name="tool", result="result" if event.name == "tool_completed" else "final_response")
    ids = _given(run_id=event.run_id, thread_id=event.thread_id, agent_name=event.agent_name)
    critical = event.name in _CRITICAL
    return {
        "type": event.name,
        "data": {**body, **ids},
        "timestamp": event.seconds,
        "critical": critical,
        "attempt": 1,
    }


def manager_context(event: Event, server: str) -> Frame:
    """The connection manager where it knows the request."""
    context = _given(user_id=event.user_id, request_id=event.request_id)
    return {**manager(event, server), **({USER_CONTEXT: context} if context else {})}


def factory(event: Event, server: str) -> Frame:
    """The bridge factory: no ``type``, the event and its thread have ids, the run has none."""
    return _given(
        event_type=event.name,
        event_id=f"evt_{event.identity[:24]}",
        thread_id=event.thread_id,
        data=event.with_names(tool_name="tool", thought="reasoning"),
        timestamp=event.timestamp,
    )


def from_server(event: Event, server: str) -> Frame:
    """A server message: no id of anybody; what belongs together shares a correlation id."""
    correlated = event.run_id or event.identity
    return {
        "type": event.name,
        "data": {**event.body, **_given(agent_name=event.agent_name)},
        "timestamp": event.seconds,
        "server_id": server,
        "correlation_id": f"corr_{_digest(correlated)[:16]}",
    }


def agent_request(event: Event, server: str) -> Frame:
    """The answers to ``agent_request``: wrapped, with the turn and the user, without thread and run."""
    completed = event.name == "agent_completed"
    kind = "agent_progress" if event.name in _PROGRESS else "system_message"
    body = event.with_names(result="content") if completed else event.body
    ids = _given(user_id=event.user_id, turn_id=event.turn_id, agent_type=event.agent_name)
    return {
        "type": "agent_response_complete" if completed else kind,
        "data": {**body, "event": event.name, **ids},
        "timestamp": event.seconds,
    }


def flat(event: Event, server: str) -> Frame:
    """Everything at the root."""
    root = _given(
        type=event.name,
        run_id=event.run_id,
        thread_id=event.thread_id,
        agent_name=event.agent_name,
        timestamp=event.timestamp,
    )
    return {**root, **event.body, **root}


def fallback(event: Event, server: str) -> Frame:
    """The fallback agent: the name twice, the user and the thread, no run."""
    body = event.with_names(result="content") if event.name == "agent_completed" else event.body
    root = _given(
        type=event.name,
        event=event.name,
        user_id=event.user_id,
        thread_id=event.thread_id,
        timestamp=event.seconds,
    )
    return {**root, **body, **root}


def mixed(event: Event, server: str) -> Frame:
    """What one run looks like where several producers have a hand in it."""
    return _HANDS.get(event.name, emitter)(event, server)


ENCODERS: Mapping[str, Encoder] = {
    "bridge": bridge,
    "emitter": emitter,
    "manager": manager,
    "manager-context": manager_context,
    "factory": factory,
    "server": from_server,
    "agent-request": agent_request,
    "flat": flat,
    "fallback": fallback,
    "mixed": mixed,
}
NAMES_ITS_USER = frozenset({"manager-context", "agent-request", "fallback", "mixed"})
"""Dialects in which some frame names its user."""

_HANDS: Mapping[str, Encoder] = {
    "agent_started": bridge,
    "agent_thinking": manager_context,
    "tool_executing": factory,
    "tool_completed": factory,
    "partial_result": flat,
    "agent_completed": fallback,
}


def _given(**values: Any) -> Frame:
    return {name: value for name, value in values.items() if value is not None}


def _without_ids(payload: Mapping[str, Any]) -> Frame:
    body = {name: value for name, value in payload.items() if name not in _IDS}
    if isinstance(body.get("error_context"), dict):
        body["error_context"] = {name: value for name, value in body["error_context"].items() if name not in _IDS}
    return body


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
