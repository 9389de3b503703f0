"""C8 holds every answer against the request that it is recorded for."""

from __future__ import annotations

from typing import Any

import pytest

from netra_probe.checkers import Window, pairing
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.operation import Operation

from .story import Story, encode, route

THREADS = ("thread_of_costs", "thread_of_plans")


class Exchange(Story):
    """A story of requests with nonces."""

    def ask_for(self, user: str | None, path: str, nonce: str | None = None) -> Operation:
        return self.write(
            "invoke", f"GET {route(path)}", user=user, connection=f"{user}/rest", surface="rest", nonce=nonce,
            detail={"path": path},
        )  # fmt: skip

    def answer(self, call: Operation, body: object = None, back: Any = None) -> Operation:
        detail = {} if back is None else {"nonce_back": back}
        return self.complete(call, "ok", status=200, payload=encode(body), detail=detail)


def judged(told: Story, start: int = 0) -> Judgement:
    return pairing()(told.operations, Window(start=start))


def kinds(told: Story) -> list[str]:
    return [finding.kind for finding in judged(told).findings]


def test_every_answer_with_its_own_nonce() -> None:
    told = Exchange()
    calls = [told.ask_for(user, "/api/users/me", f"nonce-{user}") for user in ("alice", "bob")]
    for call in reversed(calls):
        told.answer(call, {}, call.nonce)
    assert judged(told).verdict == "pass"


@pytest.mark.parametrize("back", ["nonce-alice", ["nonce-bob", "nonce-alice"]])
def test_an_answer_with_somebody_elses_nonce(back: Any) -> None:
    told = Exchange()
    told.ask_for("alice", "/api/users/me", "nonce-alice")
    told.answer(told.ask_for("bob", "/api/users/me", "nonce-bob"), {}, back)
    (finding,) = judged(told).findings
    assert (finding.kind, finding.victims, finding.recipients) == ("swapped", ("alice",), ("bob",))


def test_a_target_may_number_requests_itself() -> None:
    told = Exchange()
    told.answer(told.ask_for("bob", f"/api/threads/{THREADS[0]}", "nonce"), {"id": THREADS[0]}, "req-17")
    assert judged(told).verdict == "pass"


def test_the_object_that_was_asked_for() -> None:
    told = Exchange()
    told.answer(told.ask_for("alice", f"/api/threads/{THREADS[0]}"), {"id": THREADS[1]})
    assert kinds(told) == ["wrong object"]


@pytest.mark.parametrize("body", [{"thread_id": THREADS[1]}, [{"id": "message_17", "thread_id": THREADS[1]}]])
def test_messages_of_the_thread_that_was_asked_for(body: object) -> None:
    told = Exchange()
    told.answer(told.ask_for("alice", f"/api/threads/{THREADS[0]}/messages"), body)
    assert kinds(told) == ["wrong object"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/api/threads/{THREADS[0]}", {"id": THREADS[0], "title": "x"}),
        (f"/api/threads/{THREADS[0]}", {"title": "x", "id": THREADS[0]}),
        (f"/api/threads/{THREADS[0]}?full=1", {"id": THREADS[0]}),
        (f"/api/threads/{THREADS[0]}/messages", {"id": "message_17", "thread_id": THREADS[0]}),
        (f"/api/threads/{THREADS[0]}/messages", [{"id": "message_17"}, 5, None]),
        ("/api/users/me", {"id": "a-long-account-id"}),
        (f"/api/threads/{THREADS[0]}", "no object at all"),
    ],
)
def test_objects_that_fit(path: str, body: object) -> None:
    told = Exchange()
    told.answer(told.ask_for("alice", path), body)
    assert kinds(told) == []


def event(told: Story, user: str, run: str, turn: str) -> None:
    told.receive(user, {"type": "agent_thinking", "run_id": run, "turn_id": turn})


def question(told: Story, user: str, nonce: str) -> None:
    told.write("invoke", "ask", user=user, connection=f"{user}/ws-1", surface="websocket", nonce=nonce)


def test_events_with_the_mark_of_their_question() -> None:
    told = Story()
    for user in ("alice", "bob"):
        question(told, user, f"turn-{user}")
        event(told, user, f"run-{user}", f"turn-{user}")
    assert judged(told).verdict == "pass"


def test_events_of_somebody_elses_question() -> None:
    told = Story()
    question(told, "alice", "turn-alice")
    event(told, "bob", "run-alice", "turn-alice")
    assert kinds(told) == ["swapped"]


def test_equal_marks_on_purpose_are_both_right() -> None:
    told = Story()
    for user in ("alice", "bob"):
        question(told, user, "turn-1")
    for user in ("alice", "bob"):
        event(told, user, f"run-{user}", "turn-1")
    assert kinds(told) == []


def test_one_run_for_two_questions() -> None:
    told = Story()
    for turn in ("turn-1", "turn-2"):
        question(told, "alice", turn)
        event(told, "alice", "run-1", turn)
    assert kinds(told) == ["mixed"]


def test_without_marks_nothing_is_proved() -> None:
    told = Exchange()
    told.answer(told.ask_for("alice", "/api/users/me", "nonce"), {})
    assert "no nonce came back" in judged(told).doubts[0]
    assert judged(Story()).doubts == ("nothing was answered",)


def test_the_probes_own_records_must_pair_up() -> None:
    told = Exchange()
    call = told.ask_for("alice", "/api/users/me", "nonce")
    told.answer(call, {}, "nonce")
    told.answer(call, {}, "nonce")
    assert "1 response recorded without a request, or twice" in judged(told).doubts


def test_what_came_before_the_window_is_context() -> None:
    told = Exchange()
    told.answer(told.ask_for("alice", f"/api/threads/{THREADS[0]}"), {"id": THREADS[1]})
    assert judged(told, len(told.operations)).findings == ()
