"""What an exploration covered follows from the steps in its history alone, and what it left out is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.checkers.coverage import OUTCOMES, coverage
from netra_probe.display.exploration import NotTried
from netra_probe.history.operation import Operation

READ, STEAL, WRITE, LOST = (
    {"id": name, "operation": operation, "principal": principal, "channel": "header", "listeners": "absent"}
    for name, operation, principal in (
        ("a1", "GET /x/{id}", "owner"),
        ("b2", "GET /x/{id}", "other user"),
        ("c3", "PUT /x/{id}", "owner"),
        ("d4", "GET /y/{id}", "owner"),
    )
)


class Story:
    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(self, **fields: object) -> int:
        index = len(self.operations)
        self.operations.append(Operation(**{"index": index, "time": index, "type": "ok", **fields}))
        return index

    def take(self, step: dict[str, str], *outcomes: str, act: bool = True) -> None:
        self.add(action="step", detail=step)
        for outcome in outcomes:
            mark = {"step": step["id"], **({"act": True} if act else {})}
            action = step["operation"] if act else "GET /beside"
            call = self.add(action=action, type="invoke", surface="rest", detail=mark)
            self.add(action=action, type=outcome, surface="rest", call=call)


def told() -> list[Operation]:
    story = Story()
    plan = {
        "budget": 50,
        "pairs": 90,
        "left_out": {"steps": 5, "operations": {"GET /z": 5}, "values": {"principal": {"nobody": 5}}},
        "impossible": [
            {"value": "cookie", "why": "a message carries no cookie", "operations": 2, "example": "question"}
        ],
        "withheld": {"POST /rebuild": "its effect is not understood"},
        "not_searched": ["routes that no description lists"],
    }
    story.add(action="plan", detail=plan)
    story.take(READ, "ok")
    story.take(STEAL, "info", "fail")
    story.take(WRITE, "ok", act=False)
    story.add(action="step", detail={**LOST, "impossible": "no id is known"})
    return story.operations


def test_each_step_is_told_by_what_became_of_its_own_act() -> None:
    record = coverage(told())
    assert record["steps"] == {
        "reached": 1, "refused": 1, "unanswered": 0, "impossible": 1, "not carried out": 1, "left out by budget": 5,
    }  # fmt: skip
    assert record["dimensions"]["principal"] == {
        "nobody": {"left out by budget": 5},
        "other user": {"refused": 1},
        "owner": {"impossible": 1, "not carried out": 1, "reached": 1},
    }
    assert record["pairs"]["possible"] == 90 and 0 < record["pairs"]["covered"] < 90
    assert record["operations"]["not tried"] == ["GET /y/{id}", "GET /z", "PUT /x/{id}"]
    assert [entry["why"] for entry in record["impossible"]] == ["a message carries no cookie", "no id is known"]


def test_without_a_mark_the_operation_of_the_steps_name_is_its_act() -> None:
    story = Story()
    story.add(action="plan", detail={})
    story.add(action="step", detail=READ)
    for detail, outcome in (({}, "ok"), ({"act": True}, "fail"), ({}, "ok")):
        call = story.add(action=READ["operation"], type="invoke", detail={"step": READ["id"], **detail})
        story.add(action=READ["operation"], type=outcome, call=call)
        expected = "refused" if any("act" in one.detail for one in story.operations) else "reached"
        assert coverage(story.operations)["steps"][expected] == 1


def test_what_was_not_tried_is_said_in_words() -> None:
    shown = NotTried(coverage(told()))
    text = shown.text()
    assert shown.headline.startswith("2 combinations tried: 1 reached, 1 refused; 1 impossible, 1 not carried")
    for line in (
        "operations not tried: GET /y/{id}, GET /z, PUT /x/{id}",
        "operations not sent, its effect is not understood: POST /rebuild",
        "impossible, cookie: a message carries no cookie (2 operations, such as question)",
        "values that no step was tried with: principal “nobody”",
        "not searched: routes that no description lists",
    ):
        assert f"  {line}" in text and line.partition(":")[0] in shown.html()
    assert "Nothing was explored" in NotTried({}).text()


def test_what_walks_did_not_send_stands_beside_a_plan_and_nothing_that_was_sent_does() -> None:
    story = Story()
    walk = {"by": "walk", "withheld": {"POST /jobs": "not understood", "GET /z": "not reached", "PUT /late": "spent"}}
    story.operations = told()
    story.add(action="plan", detail=walk)
    story.add(action="PUT /late", type="invoke", surface="rest")
    both = coverage(story.operations)
    assert both["operations"]["withheld"] == {
        "POST /jobs": "not understood",
        "POST /rebuild": "its effect is not understood",
    }
    assert {**both, "operations": {}} == {**coverage(told()), "operations": {}}
    alone = coverage([one for one in story.operations if one.action != "plan" or one.detail == walk][-2:])
    assert alone["operations"]["withheld"] == {"GET /z": "not reached", "POST /jobs": "not understood"}
    assert NotTried(alone).html().startswith("<p>Nothing was explored systematically.</p><p><b>Not tried</b></p>")


def test_without_a_plan_there_is_no_coverage_and_a_step_that_comes_again_counts_once() -> None:
    assert coverage([one for one in told() if one.action != "plan"]) == {}
    story = Story()
    story.add(action="plan", detail={})
    story.take(READ, "fail")
    story.take(READ, "ok")
    assert coverage(story.operations)["steps"]["reached"] == 1
    assert sum(coverage(story.operations)["steps"].values()) == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("xyé", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "steps", "principal"]), inner),
    max_leaves=6,
)


fields = ["id", "left_out", "impossible", "withheld", "not_searched", "budget", "pairs", "operation", "act", "by"]
lines = st.tuples(st.sampled_from(["plan", "step"]), st.dictionaries(st.sampled_from(fields), anything))


@given(st.lists(lines, max_size=6))
@pytest.mark.nightly
def test_a_damaged_history_has_a_coverage_all_the_same(lines: list[tuple[str, dict[str, object]]]) -> None:
    story = Story()
    for action, detail in lines:
        story.add(action=action, detail=detail)
    record = coverage(story.operations)
    if record:
        assert set(OUTCOMES) <= set(record["steps"])
        assert NotTried(record).text()
