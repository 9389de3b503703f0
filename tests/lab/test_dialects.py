"""Each known producer's envelope: what it says, which ids it has, and that the probe reads them all as one event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_probe.history.frames import read_frame
from netra_probe.lab import Variant, VariantProblem
from netra_probe.lab.backend.dialects.envelopes import ENCODERS, NAMES_ITS_USER, Event

RUN, THREAD, USER = "run_thread_1_1_aa", "thread_1", "0c8f6d1e-0000-4000-8000-000000000001"

#: Dialect → the keys at the root of a run's event, and the ids that can be read from it.
SHAPES: dict[str, tuple[set[str], set[str]]] = {
    "bridge": ({"type", "run_id", "agent_name", "timestamp", "payload"}, {"run_id"}),
    "emitter": ({"type", "run_id", "thread_id", "agent_name", "timestamp", "payload"}, {"run_id", "thread_id"}),
    "manager": ({"type", "data", "timestamp", "critical", "attempt"}, {"run_id", "thread_id"}),
    "manager-context": (
        {"type", "data", "timestamp", "critical", "attempt", "user_context"},
        {"run_id", "thread_id", "user_id", "request_id"},
    ),
    "factory": ({"event_type", "event_id", "thread_id", "data", "timestamp"}, {"thread_id"}),
    "server": ({"type", "data", "timestamp", "server_id", "correlation_id"}, set()),
    "agent-request": ({"type", "data", "timestamp"}, {"user_id", "turn_id"}),
    "flat": (
        {"type", "run_id", "thread_id", "agent_name", "timestamp", "thought", "step_number"},
        {"run_id", "thread_id"},
    ),
    "fallback": (
        {"type", "event", "user_id", "thread_id", "timestamp", "thought", "step_number"},
        {"user_id", "thread_id"},
    ),
}
RUN_EVENTS: dict[str, dict[str, Any]] = {
    "agent_started": {"status": "started", "message": "on it", "message_id": "m-1", "client_run_id": "mine"},
    "agent_thinking": {"thought": "hm", "step_number": 1},
    "tool_executing": {"tool_name": "spend", "parameters": {}},
    "tool_completed": {"tool_name": "spend", "result": {"total": 1}, "success": True},
    "partial_result": {"content": "a", "index": 0, "is_final": True},
    "agent_completed": {"status": "completed", "result": "the answer"},
    "final_report": {"result": "the answer"},
    "agent_error": {"error_message": "again", "error_context": {"run_id": RUN}},
}


def contract(name: str, **changes: Any) -> dict[str, Any]:
    """An event as it leaves a healthy part that names its user."""
    return {
        "type": name,
        "run_id": RUN,
        "thread_id": THREAD,
        "agent_name": "triage",
        "timestamp": "2025-09-01T12:00:00+00:00",
        "seq": 2,
        "cursor": 17953,
        "payload": {**RUN_EVENTS.get(name, {}), "turn_id": "turn-1"},
        "user_context": {"user_id": USER, "request_id": "req_1"},
        **changes,
    }


def written(dialect: str, frame: dict[str, Any]) -> dict[str, Any]:
    """The frame in a dialect."""
    event = Event.of(frame)
    assert event is not None
    return ENCODERS[dialect](event, "backend-1")


def test_there_is_an_encoder_for_each_dialect_that_can_be_chosen() -> None:
    assert {"contract", *ENCODERS} == set(Variant.choices("dialect"))
    assert {"mixed", *SHAPES} == set(ENCODERS)


@pytest.mark.parametrize("dialect", SHAPES)
def test_an_event_has_the_keys_and_ids_of_its_producer_and_no_others(dialect: str) -> None:
    frame = written(dialect, contract("agent_thinking"))
    keys, ids = SHAPES[dialect]
    assert set(frame) == keys
    seen = {name for name, value in read_frame(json.dumps(frame)).ids.items() if value}
    assert seen == ids
    text = json.dumps(frame)
    for name, value in {"run_id": RUN, "user_id": USER, "turn_id": "turn-1"}.items():
        assert (value in text) == (name in ids), name


@pytest.mark.parametrize("dialect", ENCODERS)
def test_the_probe_reads_every_event_of_every_dialect_under_its_own_name(dialect: str) -> None:
    assert [read_frame(json.dumps(written(dialect, contract(name)))).name for name in RUN_EVENTS] == list(RUN_EVENTS)


@pytest.mark.parametrize("dialect", ENCODERS)
def test_what_only_the_lab_has_is_in_no_other_dialect(dialect: str) -> None:
    for name in RUN_EVENTS:
        text = json.dumps(written(dialect, contract(name)))
        for word in ("seq", "cursor", "17953", "m-1", "mine"):
            assert f'"{word}"' not in text


@pytest.mark.parametrize("dialect", SHAPES)
def test_the_words_of_an_event_survive_whatever_the_envelope(dialect: str) -> None:
    assert "the answer" in json.dumps(written(dialect, contract("agent_completed")))
    assert "spend" in json.dumps(written(dialect, contract("tool_executing")))


@pytest.mark.parametrize("dialect", ENCODERS)
def test_events_about_threads_keep_what_they_are_about(dialect: str) -> None:
    frame = contract("thread_created", run_id=None, agent_name=None, payload={"thread_id": THREAD, "title": "Budget"})
    del frame["user_context"]
    text = json.dumps(written(dialect, frame))
    assert read_frame(text).name == "thread_created"
    assert THREAD in text and "Budget" in text and "null" not in text


def test_copies_of_one_event_share_its_id_and_other_events_have_others() -> None:
    once, again = (written("factory", contract("agent_thinking", cursor=cursor)) for cursor in (1, 2))
    other = written("factory", contract("agent_thinking", seq=3))
    assert once["event_id"] == again["event_id"] != other["event_id"]


def test_turns_and_correlations_are_told_apart_by_run() -> None:
    without_turn = [contract("agent_thinking", payload={}, run_id=run) for run in ("run_1", "run_1", "run_2")]
    turns = [written("agent-request", frame)["data"]["turn_id"] for frame in without_turn]
    groups = [written("server", frame)["correlation_id"] for frame in without_turn]
    assert turns[0] == turns[1] != turns[2]
    assert groups[0] == groups[1] != groups[2]


def test_a_stray_copy_names_the_user_whose_event_it_is() -> None:
    for dialect in NAMES_ITS_USER - {"mixed"}:
        assert USER in json.dumps(written(dialect, contract("agent_thinking")))


def test_frames_about_the_connection_are_no_events() -> None:
    assert Event.of({"type": "pong", "timestamp": 1.0}) is None
    assert Event.of({"type": "system_message", "data": {"event": "connection_established"}}) is None


def test_a_variant_says_only_what_differs_and_survives_the_way_to_the_services() -> None:
    variant = Variant(dialect="flat", zombie="silent", cache=False)
    assert variant.differences() == {"dialect": "flat", "zombie": "silent", "cache": False}
    assert Variant.from_text(variant.to_text()) == variant
    assert str(variant) == "dialect flat, zombie silent, no cache"
    assert (Variant().to_text(), str(Variant()), Variant.from_text("")) == ("", "contract", Variant())


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"dialect": "manger"}, "there is no dialect 'manger'; did you mean 'manager'?"),
        ({"handshake": "teapot"}, "there is no handshake 'teapot'; there are: frame-then-1008, http-403, 1011"),
        ({"dialekt": "flat"}, "a variant has no 'dialekt'; did you mean 'dialect'?"),
        ({"cache": "no"}, "cache must be true or false"),
    ],
)
def test_an_unknown_variant_is_refused_with_a_suggestion(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(VariantProblem) as refused:
        Variant.from_mapping(values)
    assert str(refused.value) == complaint
