"""Frames that answer one connection only: welcome, pong, acknowledgements, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.shared.clock import clock

MODES = ("main", "factory", "isolated", "legacy")
"""What clients of different ages ask for with ``?mode=``."""


def text(frame: Mapping[str, Any]) -> str:
    """A frame as it goes over the wire."""
    return json.dumps(frame, ensure_ascii=False, default=str)


def mode_of(asked: str | None) -> str:
    """The mode of a socket. All of them are isolated and behave alike; whoever asks for another gets the first."""
    return asked if asked in MODES else MODES[0]


def welcome_frame(
    *, connection_id: str, user_id: str, environment: str, backend: str, cursor: int, limits: Limits, mode: str
) -> str:
    """``system_message`` / ``connection_established``: who the server thinks this is, and what it will put up with."""
    return text(
        {
            "type": "system_message",
            "data": {
                "event": "connection_established",
                "connection_id": connection_id,
                "user_id": user_id,
                "server_time": clock.utc().isoformat(),
                "connection_ready": True,
                "mode": mode,
                "environment": environment,
                "server_id": backend,
                "resume_cursor": cursor,
                "config": {
                    "heartbeat_interval": limits.heartbeat_seconds,
                    "max_message_size": limits.message_bytes,
                },
            },
            "timestamp": clock.now(),
        }
    )


def answering(message_id: str | None) -> dict[str, str]:
    """What an answer repeats of its request: the client's own id, so that it can tell its answers apart."""
    return {} if message_id is None else {"message_id": message_id}


def system_frame(event: str, *, answers: str | None = None, **data: Any) -> str:
    """A ``system_message`` about the connection itself."""
    body = {"type": "system_message", "data": {"event": event, **data}, "timestamp": clock.now()}
    return text({**body, **answering(answers)})


def plain_frame(kind: str, **fields: Any) -> str:
    """``pong``, ``heartbeat_ack``, ``ping``, ``ack``."""
    return text({"type": kind, **fields, "timestamp": clock.now()})


def error_frame(code: str, message: str, details: Mapping[str, Any] | None = None) -> str:
    """``error_message``: what was refused and what to do about it; never echoes what was sent."""
    return text(
        {
            "type": "error_message",
            "error_code": code,
            "error_message": message,
            "details": dict(details or {}),
            "timestamp": clock.now(),
        }
    )
