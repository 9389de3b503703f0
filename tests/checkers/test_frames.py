"""Every envelope of the wild is read as one model, and nothing that arrives makes reading fail."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netra_probe.history.frames import ID_FIELDS, Frame, read_frame

from .model_fuzz import KEYS, WORDS, text

IDS = {"run_id": "run_1", "thread_id": "thread_1"}


@pytest.mark.parametrize(
    ("frame", "name", "shape"),
    [
        ({"type": "agent_started", **IDS, "payload": {"status": "ok"}}, "agent_started", "payload"),
        ({"type": "agent_started", "data": {**IDS}, "timestamp": 1.5, "critical": True}, "agent_started", "data"),
        ({"event_type": "agent_thinking", "event_id": "e1", **IDS, "data": {}}, "agent_thinking", "event_type"),
        ({"type": "system_message", "data": {"event": "connection_established"}}, "connection_established", "wrapped"),
        ({"type": "agent_progress", "data": {"event": "agent_thinking", **IDS}}, "agent_thinking", "wrapped"),
        ({"type": "agent_response_complete", "data": {**IDS}}, "agent_completed", "data"),
        ({"type": "agent_completed", "event": "agent_completed", **IDS, "result": "x"}, "agent_completed", "flat"),
        ({"event": "tool_started", **IDS}, "tool_executing", "flat"),
        ({"type": "error_message", "error_code": "NO_TOKEN"}, "error", "flat"),
        ({"type": "pong"}, "pong", "flat"),
        ({}, "", "unknown"),
    ],
)
def test_known_envelopes(frame: dict[str, Any], name: str, shape: str) -> None:
    read = read_frame(json.dumps(frame))
    assert (read.name, read.shape) == (name, shape)
    if "run_id" in json.dumps(frame):
        assert read.run == "run_1"


def test_ids_come_from_root_then_body_then_context() -> None:
    read = read_frame(
        '{"run_id":"root","data":{"run_id":"body","thread_id":"body"},'
        '"user_context":{"run_id":"context","thread_id":"context","user_id":"context"}}'
    )
    assert read.ids == {"run_id": "root", "thread_id": "body", "user_id": "context"}


def test_ids_that_were_recorded_are_not_searched_again() -> None:
    assert read_frame('{"run_id":"r"}', {"run_id": "recorded"}).ids == {"run_id": "recorded"}


def test_what_marks_an_event_is_read_from_root_or_body() -> None:
    read = read_frame(
        '{"type":"tool_completed","seq":3,"timestamp":1.5,"payload":{"tool":"t","status":"ok","event_id":"e"}}'
    )
    assert (read.sequence, read.timestamp, read.tool, read.status, read.event_id) == (3, 1.5, "t", "ok", "e")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "\ud800", "[" * 100_000, "\x00", b"\xff", "1e999"])
def test_what_is_no_frame_stays_a_frame_without_a_name(text: str | bytes) -> None:
    read = read_frame(text)
    assert (read.name, read.shape, read.ids, read.body) == ("", "unknown", {}, {})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    SCALARS | st.sampled_from(WORDS).filter(lambda word: "\ud800" not in word) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


def plainly(value: object) -> tuple[str, dict[str, str], int | None]:
    """Name, ids and number by the rules, without care for speed."""
    root = value if isinstance(value, dict) else {}
    body = next((root[name] for name in ("payload", "data") if isinstance(root.get(name), dict)), root)
    kind, event, inner = (
        part if isinstance(part, str) else "" for part in (root.get("type"), root.get("event"), body.get("event"))
    )
    wrapped = kind in ("system_message", "agent_progress", "agent_update", "message", "event")
    name = kind
    if (event or inner) and (not kind or wrapped or root.get("event")):
        name = event or inner
    if not name:
        name = root["event_type"] if isinstance(root.get("event_type"), str) else ""
    ids: dict[str, str] = {}
    context = root.get("user_context")
    for place in (context if isinstance(context, dict) else {}, body, root):
        for field in ID_FIELDS:
            id = place.get(field)
            if isinstance(id, str | int) and not isinstance(id, bool) and id != "":
                ids[field] = str(id)
    numbers = (root.get("seq"), body.get("seq"), root.get("sequence"), body.get("sequence"))
    return name, ids, next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool)), None)


@given(value=ANYTHING)
@settings(max_examples=500, deadline=None)
def test_reading_fast_is_reading_right(value: object) -> None:
    read = read_frame(json.dumps(value))
    name, ids, sequence = plainly(value)
    canonical = {
        "agent_response_complete": "agent_completed", "tool_started": "tool_executing", "error_message": "error",
        "connect": "connection_established", "agent_fallback": "agent_error",
    }  # fmt: skip
    assert (read.name, read.ids, read.sequence) == (canonical.get(name, name), ids, sequence)


def test_nothing_makes_reading_fail() -> None:
    random = Random(3)
    for _ in range(5_000):
        given = text(random)
        read = read_frame(given)
        assert isinstance(read, Frame)
        assert isinstance(read.body, dict)
        assert all(isinstance(part, str) for part in (read.name, read.run, read.tool, read.status, read.event_id))
