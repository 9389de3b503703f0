"""C3 misses what was lost, and takes no reconnect, second tab, late answer or strange clock for a loss."""

from __future__ import annotations

from typing import Any

import pytest

from netra_probe.checkers import Window, automaton, delivery
from netra_probe.checkers.base import judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.operation import Operation

from .story import Story

NAMES = ("agent_started", "agent_thinking", "agent_completed")


class Chat(Story):
    """A story of questions and runs."""

    def ask(self, user: str, thread: str, tab: str = "ws-1") -> Operation:
        return self.write(
            "invoke", "ask", user=user, connection=f"{user}/{tab}", surface="websocket", ids={"thread_id": thread}
        )

    def event(self, user: str, run: str, name: str, tab: str = "ws-1", **fields: Any) -> Operation:
        return self.receive(user, {"type": name, "run_id": run, "thread_id": f"thread_{user}", **fields}, tab)

    def run(self, user: str, run: str, tab: str = "ws-1") -> None:
        """A question and its whole run."""
        call = self.ask(user, f"thread_{user}", tab)
        for number, name in enumerate(NAMES, 1):
            self.event(user, run, name, tab, seq=number)
        self.complete(call, "ok", ids={"run_id": run, "thread_id": f"thread_{user}"})

    def pong(self, user: str, tab: str = "ws-1") -> None:
        self.receive(user, {"type": "pong"}, tab)


def chat() -> Chat:
    """Alice and bob are connected; bob has been answered."""
    told = Chat("alice", "bob")
    told.connect("alice")
    told.connect("bob")
    told.run("bob", "run_b")
    return told


def judged(told: Story, start: int = 0) -> Judgement:
    return delivery()(told.operations, Window(start=start))


def kinds(told: Story, start: int = 0) -> list[str]:
    return [finding.kind for finding in judged(told, start).findings]


def test_complete_runs_pass() -> None:
    told = chat()
    told.run("alice", "run_a")
    assert judged(told).verdict == "pass"


# Lost


def unanswered(*, pong: bool = True, other: bool = True) -> Chat:
    told = chat() if other else Chat("alice")
    told.connect("alice")
    call = told.ask("alice", "thread_alice")
    told.wait(20)
    told.complete(call, "info", ids={"thread_id": "thread_alice"}, detail={"silent": 20.0})
    if pong:
        told.pong("alice")
    return told


def test_a_question_without_any_answer_is_lost_when_others_were_served() -> None:
    assert kinds(unanswered()) == ["lost"]


def test_a_dead_connection_makes_it_a_doubt() -> None:
    judgement = judged(unanswered(pong=False))
    assert (judgement.findings, judgement.verdict) == ((), "inconclusive")


def test_nobody_answered_makes_it_a_doubt() -> None:
    judgement = judged(unanswered(other=False))
    assert (judgement.findings, judgement.verdict) == ((), "inconclusive")


def test_a_run_that_comes_after_its_deadline_did_happen() -> None:
    told = unanswered()
    for name in NAMES:
        told.event("alice", "run_late", name)
    assert kinds(told) == []


def test_a_run_that_breaks_off() -> None:
    told = chat()
    call = told.ask("alice", "thread_alice")
    told.event("alice", "run_a", "agent_started")
    told.complete(call, "info", ids={"run_id": "run_a"}, detail={"silent": 20.0})
    told.pong("alice")
    assert kinds(told) == ["cut short"]


# Given up


def given_up(*, after: float, usual: float = 0.1, heard: float = 0.0, lost_before: bool = False) -> Chat:
    """Answers take as long as is usual here; alice's run has begun when it is given up, and ends after she has left."""
    told = Chat("alice", "bob")
    told.connect("alice")
    told.connect("bob")
    for number in range(3):
        call = told.ask("bob", "thread_bob")
        told.event("bob", f"run_{number}", "agent_started")
        told.wait(usual)
        told.event("bob", f"run_{number}", "agent_completed")
        told.complete(call, "ok", ids={"run_id": f"run_{number}"})
    if lost_before:
        call = told.ask("bob", "thread_bob")
        told.wait(20)
        told.complete(call, "info", detail={"silent": 20.0})
        told.pong("bob")
    call = told.ask("alice", "thread_alice")
    told.event("alice", "run_a", "agent_started")
    told.wait(after)
    told.complete(call, "info", ids={"run_id": "run_a"}, detail={"silent": after})
    told.wait(heard)
    told.pong("alice")
    told.closed("alice", 1000)
    return told


def both(told: Story) -> tuple[set[str], set[str]]:
    """What C3 and C4 find, and what they doubt."""
    judgements = judge([delivery(), automaton()], told.operations, Window())
    return (
        {found.kind for judgement in judgements for found in judgement.findings},
        {doubt for judgement in judgements for doubt in judgement.doubts if "raise `deadline`" in doubt},
    )


@pytest.mark.parametrize(
    "told",
    [
        given_up(after=0.12),
        given_up(after=3.0, heard=1.3),
        given_up(after=10.0, usual=4.0),
        given_up(after=0.12, lost_before=True),
    ],
    ids=["short deadline", "two seconds more", "slow machine", "short deadline after a loss"],
)
def test_our_own_deadline_is_no_fault_of_the_target(told: Chat) -> None:
    found, doubts = both(told)
    assert found <= {"lost"}  # the one that was waited for
    assert len(doubts) == 1 and "alice's question was given up after" in next(iter(doubts))


@pytest.mark.parametrize(
    "told",
    [given_up(after=10.0), given_up(after=1.0, heard=4.5), given_up(after=1.5, lost_before=True)],
    ids=["long deadline", "listened to for longer", "like the one before"],
)
def test_what_was_waited_for_long_enough_is_missed(told: Chat) -> None:
    found, _ = both(told)
    assert "cut short" in found and ("never ended" in found or "lost" in found)


def test_a_run_that_still_went_on_when_it_was_given_up_is_only_slow() -> None:
    told = chat()
    call = told.ask("alice", "thread_alice")
    told.event("alice", "run_a", "agent_started")
    told.wait(10)
    told.complete(call, "info", ids={"run_id": "run_a"}, detail={"silent": 10.0})
    told.event("alice", "run_a", "agent_thinking")
    told.pong("alice")
    found, doubts = both(told)
    assert not found and len(doubts) == 1


def cut(*, waited: float, ended: bool) -> Chat:
    """The connection breaks during the run, and alice comes back."""
    told = chat()
    call = told.ask("alice", "thread_alice")
    told.event("alice", "run_a", "agent_started")
    told.closed("alice", 1006)
    told.complete(call, "info", ids={"run_id": "run_a"}, detail={"closed": 1006})
    told.connect("alice", "ws-2")
    if ended:
        told.event("alice", "run_a", "agent_completed", "ws-2")
    told.wait(waited)
    told.pong("alice", "ws-2")
    return told


def test_what_is_sent_after_coming_back_is_not_lost() -> None:
    assert kinds(cut(waited=30, ended=True)) == []


def test_what_is_never_sent_after_coming_back_is_lost() -> None:
    assert kinds(cut(waited=30, ended=False)) == ["cut short"]


def test_who_is_back_only_just_now_may_still_get_it() -> None:
    judgement = judged(cut(waited=0.1, ended=False))
    assert judgement.findings == ()
    assert "still have been on its way" in judgement.doubts[0]


def test_who_never_comes_back_misses_nothing() -> None:
    told = chat()
    call = told.ask("alice", "thread_alice")
    told.closed("alice", 1006)
    told.complete(call, "info", detail={"closed": 1006})
    assert kinds(told) == []


# Twice, out of order, missing


def test_the_same_event_twice_on_one_connection() -> None:
    told = chat()
    told.event("alice", "run_a", "agent_thinking", seq=1)
    told.event("alice", "run_a", "agent_thinking", seq=1)
    assert "duplicate" in kinds(told)


def test_equal_thoughts_without_a_mark_are_two_thoughts() -> None:
    told = chat()
    for stamp in ({}, {"timestamp": 5}, {"timestamp": "2025-09-01T10:00:00Z"}):
        told.event("alice", "run_a", "agent_thinking", **stamp)
        told.event("alice", "run_a", "agent_thinking", **stamp)
    assert "duplicate" not in kinds(told)


def test_an_exact_time_marks_an_event() -> None:
    told = chat()
    told.event("alice", "run_a", "agent_thinking", timestamp=5.25)
    told.event("alice", "run_a", "agent_thinking", timestamp=5.25)
    assert "duplicate" in kinds(told)


def test_two_open_tabs_may_each_get_a_copy() -> None:
    told = chat()
    told.connect("alice", "ws-2")
    call = told.ask("alice", "thread_alice")
    for number, name in enumerate(NAMES):
        for tab in ("ws-1", "ws-2"):
            told.event("alice", "run_a", name, tab, seq=number)
    told.complete(call, "ok", ids={"run_id": "run_a"})
    for tab in ("ws-1", "ws-2"):
        told.pong("alice", tab)
    assert judged(told).verdict == "pass"


def test_a_tab_that_gets_some_of_the_copies_misses_the_others() -> None:
    told = chat()
    told.connect("alice", "ws-2")
    for number, name in enumerate(NAMES):
        told.event("alice", "run_a", name, seq=number)
        if name != "agent_thinking":
            told.event("alice", "run_a", name, "ws-2", seq=number)
    for tab in ("ws-1", "ws-2"):
        told.pong("alice", tab)
    assert "gap" in kinds(told)


def test_each_event_to_one_of_the_tabs_is_enough() -> None:
    told = chat()
    told.connect("alice", "ws-2")
    call = told.ask("alice", "thread_alice")
    for number, name in enumerate(NAMES):
        told.event("alice", "run_a", name, f"ws-{number % 2 + 1}", seq=number)
    told.complete(call, "ok", ids={"run_id": "run_a"})
    for tab in ("ws-1", "ws-2"):
        told.pong("alice", tab)
    assert kinds(told) == []


def test_a_new_connection_must_not_get_what_a_closed_one_had() -> None:
    told = chat()
    told.event("alice", "run_a", "agent_started", seq=1)
    told.closed("alice", 1006)
    told.connect("alice", "ws-2")
    told.event("alice", "run_a", "agent_started", "ws-2", seq=1)
    assert "duplicate" in kinds(told)


@pytest.mark.parametrize(("again", "found"), [((2,), False), ((1, 2), True), ((1,), True)])
def test_only_the_event_that_a_target_was_sending_as_it_gave_up_may_come_again(
    again: tuple[int, ...], found: bool
) -> None:
    told = chat()
    for number in (1, 2):
        told.event("alice", "run_a", NAMES[number - 1], seq=number)
    told.closed("alice", 1013)
    told.connect("alice", "ws-2")
    for number in again:
        told.event("alice", "run_a", NAMES[number - 1], "ws-2", seq=number)
    assert ("duplicate" in kinds(told)) == found


@pytest.mark.parametrize(
    ("code", "begun", "found"),
    [(1013, False, []), (1006, False, []), (1013, True, ["cut short"]), (1000, False, ["lost"])],
)
def test_a_question_that_was_perhaps_not_read_before_the_target_gave_up_is_no_loss(
    code: int, begun: bool, found: list[str]
) -> None:
    told = chat()
    call = told.ask("alice", "thread_alice")
    if begun:
        told.event("alice", "run_a", "agent_started")
    told.closed("alice", code)
    told.complete(call, "info", ids={"run_id": "run_a"} if begun else {}, detail={"silent": 20.0})
    told.connect("alice", "ws-2")
    told.wait(20)
    told.pong("alice", "ws-2")
    assert kinds(told) == found
    assert any("question was read there" in doubt for doubt in judged(told).doubts) == (found == [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"seq": 2}, {"seq": 1}),
        ({"timestamp": 5.5}, {"timestamp": 5.4}),
        ({"timestamp": "2025-09-01T10:00:00.500Z"}, {"timestamp": "2025-09-01T10:00:00.400Z"}),
        ({"timestamp": 1_756_000_000_500}, {"timestamp": 1_756_000_000_400}),
    ],
)
def test_events_produced_in_another_order_than_they_came(first: dict[str, Any], second: dict[str, Any]) -> None:
    told = chat()
    told.event("alice", "run_a", "agent_thinking", thought="later", **first)
    told.event("alice", "run_a", "agent_thinking", thought="earlier", **second)
    assert "reordered" in kinds(told)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"timestamp": 5.5005}, {"timestamp": 5.5}),
        ({"timestamp": "2025-09-01T10:00:00+00:00"}, {"timestamp": "2025-09-01T09:59:59.999999+00:00"}),
        ({"timestamp": "yesterday"}, {"timestamp": "tomorrow."}),
        ({"timestamp": 5.5}, {"timestamp": "2025-09-01T10:00:00Z"}),
        ({"timestamp": 5.5}, {}),
    ],
)
def test_times_that_cannot_be_compared_are_not(first: dict[str, Any], second: dict[str, Any]) -> None:
    told = chat()
    told.event("alice", "run_a", "agent_thinking", thought="a", **first)
    told.event("alice", "run_a", "agent_thinking", thought="b", **second)
    assert "reordered" not in kinds(told)


def gapped(told: Chat, user: str = "alice") -> Chat:
    for number, name in ((1, "agent_started"), (2, "agent_thinking"), (5, "agent_completed")):
        told.event(user, "run_gap", name, seq=number)
    return told


def test_a_number_that_never_came() -> None:
    (finding,) = [finding for finding in judged(gapped(chat())).findings if finding.kind == "gap"]
    assert "2 numbers" in finding.explanation


def test_a_counter_of_the_whole_connection_has_no_gaps_in_a_run() -> None:
    told = chat()
    told.receive("alice", {"type": "pong", "seq": 3})
    assert "gap" not in kinds(gapped(told))


# Unexpected


def test_a_run_that_nobody_asked_for() -> None:
    told = chat()
    told.receive("alice", {"type": "agent_started", "run_id": "run_x"})
    (finding,) = judged(told).findings
    assert (finding.kind, finding.victims, finding.recipients) == ("unexpected", (), ("alice",))


def test_a_part_of_a_run_in_ones_own_thread_is_expected() -> None:
    told = chat()
    told.run("alice", "run_a")
    told.event("alice", "run_of_a_specialist", "agent_started")
    assert "unexpected" not in kinds(told)


@pytest.mark.parametrize("how", ["frame", "request"])
def test_a_run_started_without_a_recorded_question(how: str) -> None:
    told = chat()
    if how == "frame":
        told.send("alice", {"type": "start_agent", "payload": {"user_request": "?"}})
    else:
        told.request("alice", "POST", "/api/agents/start", {"status": "queued"}, 202)
    told.receive("alice", {"type": "agent_started", "run_id": "run_x"})
    assert "unexpected" not in kinds(told)


def test_somebody_elses_run_is_left_to_others() -> None:
    told = chat()
    told.receive("alice", {"type": "agent_started", "run_id": "run_b"})
    assert kinds(told) == []


def test_nothing_delivered_proves_nothing() -> None:
    assert judged(Story("alice")).doubts == ("no event of a run was seen",)


def test_an_open_question_is_a_doubt() -> None:
    told = chat()
    told.ask("alice", "thread_alice")
    assert "1 question had not ended when the window closed" in judged(told).doubts
