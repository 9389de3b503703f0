"""C2 compares every id that a user is sent with whose it is, whenever that becomes known."""

from __future__ import annotations

from typing import Any

import pytest

from netra_probe.checkers import Window, envelope
from netra_probe.checkers.verdict import Finding, Judgement

from .story import Story, user_id

EVENT = {"type": "agent_started", "payload": {}}


def story() -> Story:
    told = Story("alice", "bob")
    for user in ("alice", "bob"):
        told.connect(user)
        told.own(user, "thread", f"thread_{user}")
        told.receive(user, {**EVENT, "thread_id": f"thread_{user}"})
    return told


def judged(told: Story, start: int = 0) -> Judgement:
    return envelope()(told.operations, Window(start=start))


def only(told: Story) -> Finding:
    (finding,) = judged(told).findings
    return finding


def test_own_ids_pass() -> None:
    told = story()
    told.receive("alice", {"type": "pong"})
    assert judged(told).verdict == "pass"


@pytest.mark.parametrize(
    "frame",
    [
        {**EVENT, "thread_id": "thread_alice"},
        {**EVENT, "payload": {"result": {"threads": [{"thread_id": "thread_alice"}]}}},
        {**EVENT, "payload": {"items": [{"id": "thread_alice"}]}},
    ],
)
def test_a_foreign_thread_anywhere_in_a_frame(frame: dict[str, Any]) -> None:
    told = story()
    told.receive("bob", frame)
    assert (only(told).kind, only(told).victims, only(told).recipients) == ("foreign thread id", ("alice",), ("bob",))


@pytest.mark.parametrize(
    "frame",
    [
        {**EVENT, "user_id": user_id("alice")},
        {**EVENT, "user_context": {"user_id": user_id("alice")}},
        {**EVENT, "payload": {"key": f"user:{user_id('alice')}:inbox"}},
    ],
)
def test_a_foreign_account_anywhere_in_a_frame(frame: dict[str, Any]) -> None:
    told = story()
    told.receive("bob", frame)
    assert only(told).kind == "foreign user id"


def test_a_foreign_id_in_a_response() -> None:
    told = story()
    told.get("bob", "/api/threads", [{"id": "thread_bob"}, {"id": "thread_alice"}])
    assert (only(told).surface, only(told).kind) == ("rest", "foreign thread id")


def test_an_id_that_the_user_named_first_is_an_echo() -> None:
    told = story()
    told.get("bob", "/api/threads/thread_alice", {"detail": "no thread for you", "thread_id": "thread_alice"}, 403)
    told.send("bob", {"payload": {"content": f"who is {user_id('alice')}?"}})
    told.receive("bob", {**EVENT, "payload": {"thought": f"who is {user_id('alice')}?"}})
    assert judged(told).findings == ()


def test_a_run_belongs_to_the_owner_of_its_thread() -> None:
    told = story()
    told.receive("alice", {**EVENT, "run_id": "run_1", "thread_id": "thread_alice"})
    told.receive("bob", {**EVENT, "run_id": "run_1"})
    assert only(told).kind == "foreign run id"


def test_a_run_whose_owner_is_known_only_later() -> None:
    told = story()
    leaked = told.receive("bob", {**EVENT, "run_id": "run_1"})
    told.own("alice", "run", "run_1")
    finding = only(told)
    assert finding.kind == "foreign run id"
    assert leaked.index in finding.witness


def test_a_run_that_turns_out_to_be_ones_own() -> None:
    told = story()
    told.receive("bob", {**EVENT, "run_id": "run_1"})
    told.own("bob", "run", "run_1")
    assert judged(told).findings == ()


def test_two_users_with_one_id() -> None:
    told = story()
    told.own("alice", "run", "run_1")
    told.own("bob", "run", "run_1")
    assert only(told).recipients == ("bob",)


def test_ids_that_nobody_owns_are_left_to_others() -> None:
    told = story()
    told.receive("bob", {**EVENT, "run_id": "run_unknown", "thread_id": "thread_unknown"})
    assert judged(told).findings == ()


@pytest.mark.parametrize("said", [user_id("bob"), user_id("bob")[:8], user_id("bob")[:8] + "…"])
def test_a_welcome_may_say_only_the_beginning(said: str) -> None:
    told = story()
    told.receive("bob", {"type": "system_message", "data": {"event": "connection_established", "user_id": said}})
    assert judged(told).findings == ()


def test_a_welcome_to_a_shared_identity() -> None:
    told = story()
    told.receive("bob", {"type": "connection_established", "data": {"user_id": "demo-user-001"}})
    assert only(told).kind == "identity not bound"


def test_a_welcome_as_somebody_else() -> None:
    told = story()
    told.receive("bob", {"type": "connection_established", "data": {"user_id": user_id("alice")}})
    assert only(told).kind == "foreign user id"


def test_what_came_before_the_window_is_context() -> None:
    told = story()
    told.receive("bob", {**EVENT, "thread_id": "thread_alice"})
    assert judged(told, len(told.operations)).findings == ()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (Story(), "no account"),
        (Story("alice"), "nothing was delivered"),
    ],
)
def test_a_silent_history_proves_nothing(told: Story, why: str) -> None:
    assert why in judged(told).doubts[0]


def test_without_an_own_id_there_is_no_positive_control() -> None:
    told = Story("alice")
    told.get("alice", "/api/threads", [])
    assert "positive control" in judged(told).doubts[0]


def test_a_dead_socket_is_a_doubt() -> None:
    told = Story("alice", "bob")
    told.connect("bob")
    told.connect("alice")
    told.receive("alice", {**EVENT, "user_id": user_id("alice")})
    assert "bob/ws-1 gave no sign of life after the deliveries to others" in judged(told).doubts
