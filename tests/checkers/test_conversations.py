"""C13: what belongs to a run stands in the conversation that asked for it; a platform's own ways are no finding."""

from __future__ import annotations

from typing import Any

import pytest

from netra_probe.checkers import conversations
from netra_probe.checkers.verdict import Judgement

from .story import Story


class Two(Story):
    """Alice asks in t1 and t2 at once; both are answered."""

    def __init__(self) -> None:
        super().__init__("alice", "bob")
        self.secret = self.mint("alice", "question")
        self.asks = [self.ask("alice", f"q{number}", f"t{number}") for number in (1, 2)]

    def ask(self, user: str, nonce: str, thread: str) -> Any:
        return self.write(
            "invoke", "ask", user=user, connection=f"{user}/ws-1", surface="websocket", nonce=nonce,
            ids={"thread_id": thread}, payload=f"Where? {self.secret}",
        )  # fmt: skip

    def event(self, name: str, run: str, thread: str, user: str = "alice", **body: Any) -> None:
        self.receive(user, {"type": name, "run_id": run, "thread_id": thread, **body})

    def answered(self, number: int, thread: str, **body: Any) -> None:
        run = f"r{number}"
        self.event("agent_started", run, f"t{number}")
        self.event("agent_completed", run, thread, result=f"You asked: {self.secret} {number}", **body)
        self.complete(self.asks[number - 1], "ok", ids={"run_id": run, "thread_id": f"t{number}"})

    def messages(self, thread: str, **message: Any) -> None:
        self.get("alice", f"/api/threads/{thread}/messages", {"thread_id": thread, "messages": [message]})

    def judged(self) -> Judgement:
        return conversations()(self.operations)


def kinds(story: Two) -> list[str]:
    return [finding.kind for finding in story.judged().findings]


def test_answers_in_their_own_conversations_are_no_finding() -> None:
    story = Two()
    for number in (1, 2):
        story.answered(number, f"t{number}")
        story.messages(f"t{number}", role="assistant", run_id=f"r{number}", content="Spend less.")
    assert (story.judged().verdict, story.judged().doubts) == ("pass", ())


def test_an_event_that_names_the_other_conversation_is_found() -> None:
    story = Two()
    story.answered(1, "t2")
    assert kinds(story) == ["event in another conversation"]


@pytest.mark.parametrize("message", [{"run_id": "r1"}, {"content": "the answer"}], ids=["by its run", "by its words"])
def test_an_answer_that_stands_in_the_other_conversation_is_found(message: dict[str, str]) -> None:
    story = Two()
    story.answered(1, "t1")
    if "content" in message:
        message = {"content": f"You asked: {story.secret} 1"}
    story.messages("t2", role="assistant", **message)
    assert kinds(story) == ["answer in another conversation"]


def test_a_run_of_which_nobody_can_say_who_asked_for_it_is_not_judged() -> None:
    """One run id for two questions is another defect; a thread that only the platform knows may be its own choice."""
    story = Two()
    story.answered(1, "a thread that the platform has made")
    assert kinds(story) == []
    twice = Two()
    twice.event("agent_started", "r", "t1")
    twice.event("agent_started", "r", "t2")
    for ask in twice.asks:
        twice.complete(ask, "ok", ids={"run_id": "r"})
    assert kinds(twice) == []


def test_another_users_thread_is_for_other_checkers() -> None:
    story = Two()
    story.complete(story.ask("bob", "q3", "t1"), "ok", ids={"run_id": "r3"})
    story.event("agent_started", "r3", "t1", "bob")
    story.event("agent_completed", "r3", "t2", "bob")
    assert kinds(story) == []


def test_words_that_are_remembered_are_no_answer() -> None:
    """What agents know of their user's other conversations may stand in an answer, and in what is kept of a run."""
    story = Two()
    story.answered(1, "t1")
    story.messages("t2", role="assistant", content=f"Before that you asked: {story.secret} 1, and I said much.")
    story.get("alice", "/api/runs/r2", {"thread_id": "t2", "known": [f"You asked: {story.secret} 1"]})
    assert kinds(story) == []


def test_doubts_say_what_was_missing() -> None:
    assert conversations()(Story("alice").operations).doubts == ("no question named its conversation",)
    alone = Story("alice")
    alone.write("invoke", "ask", user="alice", surface="websocket", nonce="q", ids={"thread_id": "t1"})
    assert conversations()(alone.operations).doubts == ("nobody asked in two conversations",)
    assert Two().judged().doubts == ("nothing told the conversation of a run",)
