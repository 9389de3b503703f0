"""C3 and C4 where events carry no run id: they belong to the only question under way, or nobody knows to which."""

from __future__ import annotations

from typing import Any

from netra_probe.checkers import Window, automaton, delivery, envelope, tokens
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.operation import Operation

from .story import Story, user_id

WHOLE = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed", "final_report")
#: Which producers of a mixed run name it, and which only its thread.
NAMING = frozenset({"agent_started", "agent_thinking", "final_report"})


class Talk(Story):
    """Alice asks, and events without ids come back."""

    def __init__(self) -> None:
        super().__init__("alice", "bob")
        self.connect("alice")
        self.connect("bob")

    def ask(self, nonce: str, *, tab: str = "ws-1", thread: str = "") -> Operation:
        ids = {"thread_id": thread} if thread else {}
        place = {"user": "alice", "connection": f"alice/{tab}", "surface": "websocket"}
        return self.write("invoke", "ask", nonce=nonce, payload="?", ids=ids, **place)

    def events(self, *names: str, who: str = "alice", tab: str = "ws-1", thread: str = "", run: str = "") -> None:
        ids = {"thread_id": thread} if thread else {}
        for name in names:
            named = {"run_id": run} if run and name in NAMING else {}
            stamp = {"timestamp": self.time / 1e9}
            self.receive(who, {"type": name, **ids, **named, "payload": {}, **stamp}, tab)

    def answered(self, call: Operation, **ids: str) -> None:
        self.complete(call, "ok", ids=ids)


def judged(told: Story, start: int = 0) -> tuple[Judgement, Judgement]:
    window = Window(start=start)
    return delivery()(told.operations, window), automaton()(told.operations, window)


def outcome(told: Story, start: int = 0) -> list[Any]:
    """Kinds of findings and doubts, of C3 and C4."""
    return [[*(one.kind for one in each.findings), *each.doubts] for each in judged(told, start)]


def test_runs_one_after_the_other_are_followed_without_ids() -> None:
    talk = Talk()
    for number in range(3):
        question = talk.ask(f"q{number}")
        talk.events(*WHOLE)
        talk.answered(question)
    assert outcome(talk) == [[], []]
    assert [each.evidence["runs ended"] for each in judged(talk)] == [3, 3]


def test_a_run_whose_producers_name_it_only_now_and_then_is_one_run() -> None:
    talk = Talk()
    question = talk.ask("q", thread="t")
    talk.events(*WHOLE, thread="t", run="r")
    talk.answered(question, run_id="r", thread_id="t")
    assert outcome(talk) == [[], []]
    assert judged(talk)[0].evidence["runs ended"] == 1


def test_a_run_is_named_after_its_first_event_too() -> None:
    talk = Talk()
    question = talk.ask("q", thread="t")
    talk.events("agent_started", thread="t")
    talk.events("agent_thinking", "agent_completed", "final_report", thread="t", run="r")
    talk.answered(question, run_id="r", thread_id="t")
    assert outcome(talk) == [[], []]


def test_the_rest_of_a_run_may_come_over_another_connection() -> None:
    talk = Talk()
    question = talk.ask("q")
    talk.events(*WHOLE[:2])
    talk.closed("alice", 1006)
    talk.complete(question, "info", detail={"closed": 1006})
    talk.connect("alice", "ws-2")
    talk.events(*WHOLE[2:], tab="ws-2")
    again = talk.ask("q2", tab="ws-2")
    talk.events(*WHOLE, tab="ws-2")
    talk.answered(again)
    assert outcome(talk) == [[], []]


def test_two_runs_at_once_are_a_doubt_and_threads_tell_them_apart() -> None:
    for threads, doubted in ((("", ""), True), (("t1", "t2"), False)):
        talk = Talk()
        questions = [talk.ask(f"q{thread}", thread=thread) for thread in threads]
        for name in WHOLE:
            for thread in threads:
                talk.events(name, thread=thread)
        for question in questions:
            talk.answered(question)
        found = outcome(talk)
        assert all(any("not to be told apart" in doubt for doubt in each) for each in found) == doubted
        assert doubted or found == [[], []]


def test_what_a_case_left_under_way_does_not_confuse_the_next() -> None:
    talk = Talk()
    lost = talk.ask("lost")
    talk.complete(lost, "info", detail={"silent": 5.0})
    start = len(talk.operations)
    question = talk.ask("q")
    talk.events(*WHOLE)
    talk.answered(question)
    assert outcome(talk, start) == [[], []]


def test_a_lost_answer_and_events_for_nobody_are_found_without_ids() -> None:
    talk = Talk()
    question = talk.ask("q")
    talk.events(*WHOLE)
    talk.events(*WHOLE, who="bob")
    talk.answered(question)
    lost = talk.ask("lost")
    talk.wait(10)
    talk.complete(lost, "info", detail={"silent": 10.0})
    talk.receive("alice", {"type": "pong"})
    assert outcome(talk)[0] == ["lost", "unexpected"]


def test_a_run_that_goes_on_after_its_end_is_found_without_ids() -> None:
    talk = Talk()
    question = talk.ask("q")
    talk.events(*WHOLE, "agent_thinking")
    talk.answered(question)
    assert outcome(talk)[1] == ["event after the end"]


def test_a_welcome_may_tell_the_beginning_of_an_id_only() -> None:
    for said, found in ((user_id("alice")[:8], []), (user_id("bob")[:8], ["bob"]), ("f" * 8, ["a stranger"])):
        story = Story("alice", "bob")
        story.forge("alice", "no token", None, "websocket")
        call = story.write(
            "invoke", "attempt", user="alice", surface="websocket",
            detail={"attempt": "own token", "expect": "alice", "control": True},
        )  # fmt: skip
        story.complete(call, "ok", ids={"user_id": said})
        findings = tokens()(story.operations).findings
        assert [one.summary.split(" over")[0].rpartition(" as ")[2] for one in findings] == found


def test_frames_of_no_known_shape_are_counted_where_a_reader_sees_it() -> None:
    story = Story("alice", "bob")
    for frame in ({"figure": 7}, {"type": "pong"}):
        story.receive("alice", frame)
    assert envelope()(story.operations).evidence["frames of unknown shape"] == 1
