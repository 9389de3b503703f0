"""C4 accepts every run that keeps the contract, whatever connection carries it, and names what a run does wrong."""

from __future__ import annotations

import pytest

from netra_probe.checkers import Window, automaton
from netra_probe.checkers.verdict import Judgement

from .story import Story

NAMES = {
    "start": "agent_started", "think": "agent_thinking", "tool": "tool_executing", "done": "tool_completed",
    "part": "partial_result", "end": "agent_completed", "report": "final_report", "error": "agent_error",
    "cancel": "agent_cancelled", "pong": "pong",
}  # fmt: skip


def story(events: str, run: str = "run_1", user: str = "alice", told: Story | None = None, tab: str = "ws-1") -> Story:
    """A run in words: ``start tool:search done:search end``."""
    told = told or Story("alice", "bob")
    for word in events.split():
        name, _, tool = word.partition(":")
        body = {"tool_name": tool} if tool else {"status": "cancelled"} if name == "cancel" else {}
        told.receive(user, {"type": NAMES[name], **({"run_id": run} if run else {}), "payload": body}, tab)
    return told


def judged(told: Story, start: int = 0) -> Judgement:
    return automaton()(told.operations, Window(start=start))


def kinds(told: Story, start: int = 0) -> list[str]:
    return [finding.kind for finding in judged(told, start).findings]


@pytest.mark.parametrize(
    "events",
    [
        "start end",
        "start think think end report",
        "start tool:a done:a tool:a done:a end",
        "start tool:a tool:b done:b done:a end",
        "start tool:a tool:a done:a done:a part part end",
        "start think error",
        "start tool:a error",
        "error",
        "start report end",
        "start pong end pong",
    ],
)
def test_the_contract(events: str) -> None:
    assert judged(story(events)).verdict == "pass"


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ("think end", "no start"),
        ("end", "no start"),
        ("start start end", "second start"),
        ("start end end", "second end"),
        ("start end error", "second end"),
        ("start error end", "second end"),
        ("start end think", "event after the end"),
        ("start end tool:a", "event after the end"),
        ("start end report report", "event after the end"),
        ("start report report end", "second report"),
        ("start done:a end", "tool without start"),
        ("start tool:a done:b end", "tool without start"),
        ("start tool:a end", "tool without end"),
        ("start tool:a tool:a done:a end", "tool without end"),
        ("start cancel", "cancelled by nobody"),
    ],
)
def test_what_breaks_the_contract(events: str, kind: str) -> None:
    judgement = judged(story(events))
    assert kind in [finding.kind for finding in judgement.findings]
    assert all(finding.explanation.endswith("a contradiction.") for finding in judgement.findings)


def test_runs_of_one_connection_do_not_disturb_each_other() -> None:
    told = Story("alice")
    for word in ("start", "think", "end"):
        for run in ("run_1", "run_2"):
            story(word, run, told=told)
    assert judged(told).verdict == "pass"


def test_two_tabs_with_a_copy_each() -> None:
    told = Story("alice")
    for word in ("start", "tool:a", "done:a", "end"):
        for tab in ("ws-1", "ws-2"):
            story(word, told=told, tab=tab)
    assert judged(told).verdict == "pass"


def test_a_tab_that_joins_in_the_middle() -> None:
    told = story("start tool:a")
    story("done:a end", told=told, tab="ws-2")
    assert kinds(told) == []


def test_a_run_that_wanders_from_tab_to_tab_and_back() -> None:
    told = story("start")
    for tab, word in (("ws-2", "tool:a"), ("ws-1", "done:a"), ("ws-1", "tool:b"), ("ws-2", "done:b"), ("ws-1", "end")):
        story(word, told=told, tab=tab)
    assert kinds(told) == []


def test_a_run_that_is_sent_again_from_its_beginning() -> None:
    told = story("start think")
    story("start think end", told=told, tab="ws-2")
    assert kinds(told) == []


@pytest.mark.parametrize("message", [{"type": "stop_agent", "payload": {"run_id": "run_1"}}, {"type": "cancel"}])
def test_a_run_cancelled_by_its_user(message: dict[str, object]) -> None:
    told = Story("alice")
    told.send("alice", message)
    assert kinds(story("start cancel", told=told)) == []


def test_a_cancel_of_another_run_is_no_cancel_of_this_one() -> None:
    told = Story("alice")
    told.send("alice", {"type": "stop_agent", "payload": {"run_id": "run_2"}})
    assert kinds(story("start cancel", told=told)) == ["cancelled by nobody"]


def test_a_cancel_of_another_user() -> None:
    told = Story("alice", "bob")
    told.send("bob", {"type": "stop_agent", "payload": {"run_id": "run_1"}})
    assert kinds(story("start cancel", told=told)) == ["cancelled by nobody"]


@pytest.mark.parametrize("name", ["error_code", "code", "reason"])
def test_an_error_that_says_it_was_a_cancel_is_one(name: str) -> None:
    told = story("start")
    told.receive("alice", {"type": "agent_error", "run_id": "run_1", "payload": {"status": "error", name: "CANCELLED"}})
    assert kinds(told) == ["cancelled by nobody"]


def test_a_cancel_by_rest() -> None:
    told = Story("alice")
    told.request("alice", "POST", "/api/agents/run_1/cancel", {}, 202)
    assert kinds(story("start cancel", told=told)) == []


def test_a_cancel_of_another_run_by_rest() -> None:
    told = Story("alice")
    told.write(
        "invoke",
        "POST /api/agents/{id}/cancel",
        user="alice",
        surface="rest",
        detail={"path": "/api/agents/run_2/cancel"},
    )
    assert kinds(story("start cancel", told=told)) == ["cancelled by nobody"]


def test_after_a_disturbance_of_the_target_anything_may_be_cancelled() -> None:
    told = Story("alice")
    told.write("ok", "disturb", detail={"what": "restart", "target": "backend-1"})
    assert kinds(story("start cancel", told=told)) == []


def test_a_disturbed_user_excuses_the_cancel_of_nobody_elses_run() -> None:
    told = Story("alice", "bob")
    told.write("ok", "disturb", user="bob", detail={"what": "cut", "target": "bob/ws-1"})
    assert kinds(story("start cancel", told=told)) == ["cancelled by nobody"]
    told = Story("alice", "bob")
    told.write("ok", "disturb", user="alice", detail={"what": "cut", "target": "alice/ws-1"})
    assert kinds(story("start cancel", told=told)) == []


def test_who_hangs_up_on_an_answer_may_have_ended_their_run() -> None:
    told = Story("alice")
    told.complete(told.begin("alice", "POST", "/api/agents/stream"), "info", detail={"reason": "cancelled"})
    assert kinds(story("start cancel", told=told)) == []


def test_who_leaves_in_the_middle_of_a_run_may_have_ended_it_and_who_left_before_has_not() -> None:
    told = story("start")
    told.write("ok", "closed", user="alice", connection="alice/ws-2", surface="websocket", status=1000)
    assert kinds(story("cancel", told=told)) == []
    told = Story("alice")
    told.write("ok", "closed", user="alice", connection="alice/ws-2", surface="websocket", status=1000)
    assert kinds(story("start cancel", told=told)) == ["cancelled by nobody"]


def test_runs_without_ids_one_after_the_other() -> None:
    told = story("start end start think end", run="")
    assert judged(told).verdict == "pass"


def test_concurrent_runs_without_ids_cannot_be_told_apart() -> None:
    told = Story("alice")
    for _ in range(2):
        told.write("invoke", "ask", user="alice", connection="alice/ws-1", surface="websocket")
    story("start start end end", run="", told=told)
    judgement = judged(told)
    assert judgement.findings == ()
    assert any("not to be told apart" in doubt for doubt in judgement.doubts)


def asked(events: str, *, closed: bool = False, pong: bool = True) -> Story:
    told = Story("alice")
    call = told.write("invoke", "ask", user="alice", connection="alice/ws-1", surface="websocket")
    story(events, told=told)
    told.complete(call, "info", ids={"run_id": "run_1"}, detail={"closed": 1006} if closed else {"silent": 20})
    return story("pong", told=told) if pong else told


def test_a_run_that_never_ends_on_a_living_connection() -> None:
    assert kinds(asked("start think")) == ["never ended"]


def test_a_run_that_ends_after_its_deadline() -> None:
    assert kinds(story("end", told=asked("start"))) == []


@pytest.mark.parametrize("told", [asked("start", pong=False), asked("start", closed=True), story("start think")])
def test_a_run_of_which_nothing_can_be_said_yet(told: Story) -> None:
    assert kinds(told) == []


def test_a_run_still_going_is_a_doubt() -> None:
    assert "1 run had not ended when the window closed" in judged(story("start think")).doubts


def test_who_has_hung_up_cannot_be_told_of_the_end() -> None:
    told = story("start end", "run_0")
    story("start think", told=told)
    told.closed("alice", 1000)
    assert judged(told).verdict == "pass"


def test_a_foreign_run_seen_in_part_is_not_judged() -> None:
    told = Story("alice", "bob")
    call = told.write("invoke", "ask", user="alice", connection="alice/ws-1", surface="websocket")
    story("start think end", told=told)
    story("think end", told=told, user="bob")
    told.complete(call, "ok", ids={"run_id": "run_1"})
    assert kinds(told) == []


def test_what_went_wrong_before_the_window_is_context() -> None:
    told = story("start end end")
    start = len(told.operations)
    story("start end", "run_2", told=told)
    assert judged(told, start).verdict == "pass"


def test_equal_faults_of_a_user_are_one_finding() -> None:
    told = Story("alice")
    for number in range(3):
        story("start end end", f"run_{number}", told=told)
    (finding,) = judged(told).findings
    assert "(3 times)" in finding.summary


def test_without_runs_nothing_is_proved() -> None:
    assert judged(Story("alice")).doubts == ("no event of a run was seen",)
