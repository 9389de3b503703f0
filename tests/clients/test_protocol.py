"""The WebSocket's protocol and the following of runs, fed with frames of every dialect; there is no socket here."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.protocol import CUT, Phase, SocketProtocol
from netra_probe.clients.replies import Timeouts
from netra_probe.history.frames import Frame, read_frame
from netra_probe.history.runs import Following, belongs, is_of_a_run
from netra_probe.lab import Variant
from netra_probe.lab.backend.dialects.boundary import Conversation

PATIENCE = Timeouts(welcome=5.0, close=2.0, pong=4.0, settle=1.0)
USER = "0a1b2c3d-0000-4000-8000-000000000000"
GREETING = {"type": "system_message", "data": {"event": "connection_established", "user_id": USER}, "timestamp": 1.0}
REFUSAL = {"type": "error_message", "error_code": "NO_TOKEN", "details": {}, "timestamp": 1.0}
ORDER = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed", "final_report")
#: What tells one run from another beside it, by dialect; the others name the thread at most with part of the events.
NAMES_ITS_RUN = ("contract", "bridge", "emitter", "manager", "manager-context", "flat")
DIALECTS = Variant.choices("dialect")


def frame(**body: Any) -> Frame:
    return read_frame(json.dumps(body))


async def said(variant: Variant, *frames: dict[str, Any], code: int | None = None) -> list[dict[str, Any]]:
    """What a backend of a variant puts on a socket when its application says these frames, and closes."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody says anything here")

    edge = Conversation(receive, send, variant=variant, server="backend-1")
    await edge.send({"type": "websocket.accept"})
    for each in frames:
        await edge.send({"type": "websocket.send", "text": json.dumps(each)})
    if code is not None:
        await edge.send({"type": "websocket.close", "code": code})
    return sent


def fed(protocol: SocketProtocol, messages: list[dict[str, Any]]) -> list[str]:
    """What is answered to these messages."""
    answers: list[str] = []
    for message in messages:
        if message["type"] == "websocket.send":
            answers += protocol.feed(read_frame(message["text"]))
        elif message["type"] == "websocket.close":
            protocol.end(message.get("code", 1000), message.get("reason", ""))
    return answers


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_welcome_is_one_in_every_dialect(dialect: str) -> None:
    for welcome in Variant.choices("welcome"):
        protocol = SocketProtocol(now=0.0, timeouts=PATIENCE)
        answers = fed(protocol, await said(Variant(dialect=dialect, welcome=welcome), GREETING))
        assert answers == (['{"type":"pong"}'] if welcome == "after-ping" else []), welcome
        if welcome == "none":
            assert (protocol.phase, protocol.patience) == (Phase.GREETING, PATIENCE.welcome)
            protocol.give_up()
            assert (protocol.phase, protocol.welcome) == (Phase.UNWELCOMED, None)
            protocol.feed(frame(**GREETING))
            assert protocol.phase is Phase.UNWELCOMED, "a welcome that nobody waited for"
        else:
            assert protocol.phase is Phase.WELCOMED, welcome
            assert protocol.welcome is not None
            assert USER.startswith(protocol.welcome.ids["user_id"]), welcome


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_refusal_is_an_error_and_a_close_or_a_close_alone(dialect: str) -> None:
    for handshake, code, error in (("frame-then-1008", 1008, "NO_TOKEN"), ("1011", 1011, "Internal error")):
        protocol = SocketProtocol(now=0.0, timeouts=PATIENCE)
        messages = await said(Variant(dialect=dialect, handshake=handshake), REFUSAL, code=1008)
        for number, message in enumerate(messages):
            fed(protocol, [message])
            if handshake == "frame-then-1008" and 0 < number < len(messages) - 1:
                assert (protocol.phase, protocol.patience) == (Phase.REFUSING, PATIENCE.close)
        assert (protocol.phase, protocol.code, protocol.error) == (Phase.REFUSED, code, error), handshake


def test_an_error_without_a_close_leaves_the_connection_open_and_unwelcomed() -> None:
    protocol = SocketProtocol(now=0.0)
    protocol.feed(frame(**REFUSAL))
    protocol.feed(frame(**GREETING))
    protocol.give_up()
    assert (protocol.phase, protocol.welcome) == (Phase.UNWELCOMED, None)


def test_the_last_words_say_why_a_connection_ended_and_only_the_last() -> None:
    for chatter, error in ((2, "SESSION_OVER"), (3, "going away")):
        protocol = SocketProtocol(now=0.0)
        protocol.feed(frame(**GREETING))
        protocol.feed(frame(type="error", code="SESSION_OVER"))
        for _ in range(chatter):
            protocol.feed(frame(type="heartbeat"))
        protocol.end(1008, "going away")
        protocol.end(None, "again")
        assert (protocol.phase, protocol.code, protocol.error) == (Phase.CLOSED, 1008, error)
    cut = SocketProtocol(now=0.0)
    cut.end(None, "")
    assert (cut.phase, cut.code) == (Phase.REFUSED, CUT)


def test_a_pong_is_believed_once_the_connection_has_settled_and_a_late_one_shortens_the_next_waits() -> None:
    model = LivenessModel()
    young = SocketProtocol(now=10.0, timeouts=PATIENCE, backend="b", model=model)
    assert young.settling(10.25) == 0.75
    assert young.ping(10.25) == PATIENCE.pong
    young.feed(frame(type="pong"))
    assert young.alive
    assert not model.lasts("b"), "a zombie answers in its first moments, too"
    assert young.settling(11.0) == 0.0
    young.ping(11.0)
    assert young.alive is None
    young.late()
    assert young.alive is False
    assert model.is_dead("b")
    assert young.ping(12.0) == PATIENCE.settle, "nobody waits long for a backend whose sockets are dead"
    young.feed(frame(type="pong"))
    assert young.alive
    assert model.lasts("b")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_who_has_carried_a_run_need_not_settle_where_another_one_has_lasted(dialect: str) -> None:
    model = LivenessModel()
    protocol = SocketProtocol(now=0.0, timeouts=PATIENCE, backend="b", model=model)
    (event,) = [read_frame(text) for text in await events(dialect, "1", names=("agent_thinking",))]
    assert not protocol.settles(event)
    protocol.feed(event)
    assert protocol.settling(0.0) == PATIENCE.settle
    model.learn("b", answered=True)
    assert protocol.settles(event)
    assert not protocol.settles(frame(type="pong"))
    assert protocol.settling(0.0) == 0.0


async def events(dialect: str, number: str, names: tuple[str, ...] = ORDER, **changes: Any) -> list[str]:
    """The events of a run in a thread of its own, as a deployment of a dialect sends them."""
    contract = [
        {
            "type": name, "run_id": f"run_{number}", "thread_id": f"thread_{number}", "agent_name": "triage",
            "timestamp": "2025-09-01T12:00:00+00:00", "payload": {"turn_id": f"question-{number}"},
            "user_context": {"user_id": USER, "request_id": "req_1"}, **changes,
        }
        for name in names
    ]  # fmt: skip
    return [message["text"] for message in await said(Variant(dialect=dialect), *contract) if "text" in message]


def following(*numbers: str, threads: bool = True) -> list[Following]:
    """Questions that one user has asked at once."""
    beside: deque[Following] = deque()
    for number in numbers:
        thread = f"thread_{number}" if threads else ""
        beside.append(Following(thread_id=thread, turn_id=f"question-{number}", beside=beside))
    return list(beside)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_single_run_is_followed_to_its_end_in_every_dialect(dialect: str) -> None:
    (question,) = following("1")
    frames = [read_frame(text) for text in await events(dialect, "1")]
    ended = [question.ends(each) for each in frames]
    assert ended == [False] * 4 + [True, True]
    assert all(map(question.mine, frames))
    assert all(map(is_of_a_run, frames))
    assert question.reports(frames[-1])
    assert question.run_id in ("", "run_1")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_of_two_runs_at_once_each_event_is_of_its_own_question(dialect: str) -> None:
    first, second = following("1", "2")
    ones, others = [[read_frame(text) for text in await events(dialect, number)] for number in "12"]
    for one, other in zip(ones, others, strict=True):
        assert first.mine(one)
        assert second.mine(other)
        if one.ids.get("run_id") or one.ids.get("thread_id") or one.ids.get("turn_id"):
            assert not first.mine(other)
            assert not second.mine(one)
    assert (first.run_id, second.run_id) == ("run_1", "run_2") or dialect not in NAMES_ITS_RUN


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_end_is_of_one_question_only(dialect: str) -> None:
    first, second = following("1", "2", threads=False)
    (end,) = [read_frame(text) for text in await events(dialect, "1", names=("agent_completed",))]
    assert (first.ends(end), second.ends(end)) == (True, False)


def test_a_run_that_is_named_belongs_to_who_has_it_and_a_thread_only_excludes() -> None:
    started = frame(type="agent_started", run_id="r1", turn_id="q1", thread_id="t1")
    assert belongs(started, turn="q1", run="r2") is True
    assert belongs(started, turn="q2", run="r1") is False
    assert belongs(started, run="r1", thread="t2") is True
    assert belongs(started, thread="t2") is False
    assert belongs(started, thread="t1") is None
    assert belongs(frame(type="agent_started"), turn="q1", run="r1", thread="t1") is None


def test_an_error_refuses_the_question_whose_message_it_names_and_else_what_was_sent() -> None:
    (question,) = following("1")
    assert question.refuses(frame(type="error", message_id="question-1"))
    assert question.refuses(frame(type="error"))
    assert not question.refuses(frame(type="error", message_id="question-2"))
    assert not question.refuses(frame(type="agent_error"))
