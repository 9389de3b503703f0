"""C11 tells what depends on others from what varies by itself, in what is seen and in how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from netra_probe.checkers import noninterference
from netra_probe.checkers.base import Window
from netra_probe.checkers.noninterference import compare
from netra_probe.checkers.observations import normalised
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.canary import mint

from .story import Story

ALONE, OTHERS, SECRETS = "alone", "with others", "other secrets"


class Play(Story):
    """A script that is performed several times."""

    def part(
        self, variant: str, answer: object, *, other: bool | None = None, frames: tuple[str, ...] = ("a",)
    ) -> None:
        """Alice asks for a summary and runs an agent; bob is there unless she is alone."""
        self.write("ok", "variant", detail={"variant": variant})
        self.get("alice", "/api/users/me/summary", answer)
        for text in frames:
            self.receive(
                "alice", {"type": "partial_result", "run_id": f"run_{len(self.operations):08x}", "payload": text}
            )
        if other if other is not None else variant != ALONE:
            self.get("bob", "/api/users/me/summary", {"about": "bob"})


def judged(told: Story) -> Judgement:
    return noninterference()(told.operations)


def play(*parts: tuple[str, Any]) -> Play:
    told = Play("alice", "bob")
    for variant, answer in parts:
        told.part(variant, answer)
    return told


SAME = {"total": 3, "created_at": "2025-09-01T10:00:00Z"}


def test_the_same_in_every_variant_passes() -> None:
    judgement = judged(play((ALONE, SAME), (OTHERS, SAME), (SECRETS, SAME)))
    assert judgement.verdict == "pass"
    assert judgement.evidence["observations compared"] > 0


def test_a_total_that_counts_the_others() -> None:
    (finding,) = judged(play((ALONE, {"total": 3}), (OTHERS, {"total": 5}))).findings
    assert (finding.kind, finding.victims, finding.recipients) == ("depends on presence", ("bob",), ("alice",))


def test_an_answer_that_varies_with_the_others_secrets() -> None:
    told = play((ALONE, {"a": 1}), (OTHERS, {"a": 1}), (SECRETS, {"a": 2}))
    assert [finding.kind for finding in judged(told).findings] == ["depends on secrets"]


def test_a_step_that_only_happens_among_others() -> None:
    told = Play("alice", "bob")
    told.part(ALONE, SAME)
    told.part(OTHERS, SAME, frames=("a", "b"))
    assert [finding.kind for finding in judged(told).findings] == ["depends on presence"]


def test_another_status_is_another_observation() -> None:
    told = Play("alice", "bob")
    told.part(ALONE, SAME)
    told.write("ok", "variant", detail={"variant": OTHERS})
    told.get("alice", "/api/users/me/summary", SAME, 429)
    told.get("bob", "/api/users/me/summary", {})
    assert [finding.kind for finding in judged(told).findings] == ["depends on presence"]


def test_what_varies_by_itself_is_noise() -> None:
    told = play((ALONE, {"word": "a"}), (ALONE, {"word": "b"}), (OTHERS, {"word": "c"}))
    judgement = judged(told)
    assert judgement.findings == ()
    assert judgement.evidence["observations that vary by themselves"] == 1


def test_own_secrets_are_the_same_whatever_they_are() -> None:
    told = Play("alice", "bob")
    for epoch, variant in enumerate((ALONE, OTHERS)):
        token = mint(seed=7, identity="a", user="alice", field="title", surface="rest", epoch=epoch).token
        told.write("ok", "mint", user="alice", detail={"token": token, "field": "title"})
        told.part(variant, {"title": f"plans {token}"})
    assert judged(told).verdict == "pass"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([], "fewer than two variants"),
        ([(ALONE, SAME)], "fewer than two variants"),
    ],
)
def test_too_little_to_compare(parts: list[tuple[str, Any]], why: str) -> None:
    assert any(why in doubt for doubt in judged(play(*parts)).doubts)


def test_without_others_their_presence_is_not_tested() -> None:
    told = Play("alice", "bob")
    told.part(ALONE, SAME)
    told.part(OTHERS, SAME, other=False)
    assert "nobody but alice was there in 'with others'" in judged(told).doubts


def test_a_user_who_missed_a_part_is_not_compared() -> None:
    told = Play("alice", "bob")
    told.part(ALONE, SAME)
    told.write("ok", "variant", detail={"variant": OTHERS})
    told.get("bob", "/api/users/me/summary", {})
    assert "no user took part both 'alone' and 'with others'" in judged(told).doubts


def waiting(*waits: tuple[str, Callable[[Random], float]]) -> Play:
    told, random = Play("alice", "bob"), Random(5)
    for variant, wait in waits:
        told.write("ok", "variant", detail={"variant": variant})
        for _ in range(12):
            call = told.begin("alice", "GET", "/api/users/me/summary")
            told.wait(wait(random))
            told.complete(call, "ok", status=200, payload="{}")
        if variant != ALONE:
            told.get("bob", "/api/users/me/summary", {})
    return told


def usual(random: Random) -> float:
    return random.uniform(0.05, 0.1)


@pytest.mark.parametrize("others", [usual, lambda random: 2 * usual(random), lambda random: random.uniform(0.05, 0.4)])
def test_sharing_a_machine_may_cost_something(others: Callable[[Random], float]) -> None:
    assert judged(waiting((ALONE, usual), (OTHERS, others))).findings == ()


def test_being_made_to_wait_is_unfair() -> None:
    (finding,) = judged(waiting((ALONE, usual), (OTHERS, lambda random: 2 + usual(random)))).findings
    assert (finding.kind, finding.victims) == ("wait depends on presence", ("alice",))


def test_time_tells_of_others_secrets() -> None:
    told = waiting((OTHERS, usual), (SECRETS, lambda random: usual(random) / 5))
    (finding,) = judged(told).findings
    assert (finding.kind, finding.recipients) == ("wait depends on secrets", ("alice",))


def loaded(reads: int, answers: int) -> Story:
    """Alice puts a load on the target, or not; then bob asks, and gets an answer of this status."""
    told = Story("alice", "bob")
    for _ in range(reads):
        told.get("alice", "/api/users/me", {})
    told.get("bob", "/api/users/me", {}, answers)
    return told


@pytest.mark.parametrize(
    ("reads", "answers", "verdict"),
    [(120, 200, "pass"), (120, 500, "inconclusive"), (120, 404, "inconclusive"), (50, 200, "inconclusive")],
)
def test_a_load_says_something_where_somebody_else_was_served_after_it(reads: int, answers: int, verdict: str) -> None:
    assert judged(loaded(reads, answers)).verdict == verdict


def test_a_load_before_the_case_says_nothing_about_it() -> None:
    told = loaded(120, 200)
    start = len(told.operations)
    told.get("bob", "/api/users/me", {})
    assert noninterference()(told.operations, Window(start=start)).verdict == "inconclusive"


def asked_in_turns(pairs: int, new: float, shared: float, piece: str = "partial_result", *, busy: float = 0.0) -> Play:
    """Alice asks what bob has asked before, and what nobody has, in turns."""
    told, random = Play("alice", "bob"), Random(5)
    for _ in range(pairs):
        for variant, pause in ((OTHERS, new), (SECRETS, shared)):
            told.write("ok", "variant", detail={"variant": variant})
            told.get("bob", "/api/threads", [])
            run = {"run_id": f"run_{len(told.operations):08x}"}
            ask = told.write("invoke", "ask", user="alice", connection="alice/ws-1", surface="websocket")
            told.receive("alice", {"type": "agent_started", **run})
            told.wait(random.uniform(0.0, 2.0))  # what comes before the answer takes as long as it takes
            told.receive("alice", {"type": "agent_thinking", **run})
            for wait in (pause + random.uniform(0.0, busy) + usual(random) / 5, 0.01):
                told.wait(wait)
                told.receive("alice", {"type": piece, **run})
            told.complete(ask, "ok", ids=run)
    return told


def test_the_first_piece_tells_what_others_have_asked() -> None:
    (finding,) = judged(asked_in_turns(10, new=0.06, shared=0.0)).findings
    assert finding.kind == "wait depends on secrets"
    assert "first piece" in finding.summary


def test_on_a_busy_machine_the_first_piece_tells_it_after_more_pairs() -> None:
    (finding,) = judged(asked_in_turns(36, new=0.15, shared=0.0, busy=0.3)).findings
    assert finding.kind == "wait depends on secrets"
    assert judged(asked_in_turns(36, new=0.0, shared=0.0, busy=0.3)).findings == ()


@pytest.mark.parametrize(("pairs", "new"), [(10, 0.0), (9, 0.06)], ids=["no difference", "too few pairs"])
def test_first_pieces_that_tell_nothing(pairs: int, new: float) -> None:
    assert judged(asked_in_turns(pairs, new=new, shared=0.0)).findings == ()


def test_answers_that_come_whole_tell_nothing_and_that_is_said() -> None:
    judgement = judged(asked_in_turns(10, new=0.06, shared=0.0, piece="agent_completed"))
    assert judgement.doubts == ("too few answers to alice came in pieces to compare how soon they began",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b":1,"a":[true,null,1.5]}', '{"a":[true,null,1.5],"b":1}'),
        ('{"execution_time_ms":5,"created_at":"x","seq":4,"resume_cursor":17,"total":2}', '{"total":2}'),
        ('{"x":"run_thread_ab_1_0a1b2c3d","y":"see run_thread_ab_1_0a1b2c3d"}', '{"x":"id-1","y":"see id-1"}'),
        (
            '{"x":"00000000-0000-4000-8000-000000000001","y":"00000000-0000-4000-8000-000000000002"}',
            '{"x":"id-1","y":"id-2"}',
        ),
        ('"at 2025-09-01T10:00:00.5+00:00 sharp"', '"at then sharp"'),
        ("no json at 2025-09-01 10:00", "no json at then"),
    ],
)
def test_what_is_taken_out(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_the_test_of_two_samples() -> None:
    apart = compare([1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16])
    assert apart.p == pytest.approx(0.000939, abs=1e-6)  # scipy.stats.mannwhitneyu, method="asymptotic"
    assert (apart.greater, apart.medians) == (1.0, (4.5, 12.5))
    equal = compare([1.0] * 9, [1.0] * 9)
    assert (equal.p, equal.greater) == (1.0, 0.5)
    with pytest.raises(ValueError, match="at least one value"):
        compare([], [1.0])


@pytest.mark.parametrize(("deadline", "kinds"), [(0.5, []), (10.0, ["depends on presence"])])
def test_a_question_given_up_too_soon_is_no_difference(deadline: float, kinds: list[str]) -> None:
    told = Play("alice", "bob")
    for variant, type in ((ALONE, "ok"), (OTHERS, "info")):
        told.part(variant, SAME)
        place: dict[str, str] = {"user": "alice", "connection": "alice/ws-1", "surface": "websocket"}
        call = told.write("invoke", "ask", nonce=f"question in {variant}", **place)
        told.wait(0.4 if type == "ok" else deadline)
        told.complete(call, type, detail={} if type == "ok" else {"silent": deadline})
    judgement = judged(told)
    assert [finding.kind for finding in judgement.findings] == kinds
    assert any("raise `deadline`" in doubt for doubt in judgement.doubts) == (not kinds)
