"""A plan is a value: it is shown, stored and cut down, and says what it costs and needs, before anything is done."""

from __future__ import annotations

import doctest

import pytest

from netra_probe.display.controls import folded
from netra_probe.errors import ParameterError
from netra_probe.plans import Plan, Step, steps
from netra_probe.plans.steps import Connection, Listeners, Place, Principal, Role, Spelling, Timing
from netra_probe.target.deployment import Mode

READ = Step(operation="GET /api/threads/{thread_id}", role=Role.READ, kind="thread")
MAKE = Step(operation="POST /api/threads", role=Role.CREATE, kind="thread", removal="DELETE /api/threads/{thread_id}")
STOLEN = Step(
    operation=READ.operation,
    role=Role.READ,
    kind="thread",
    principal=Principal.OTHER,
    place=Place.PATH,
    spelling=Spelling.UPPER,
    timing=Timing.SAME_INSTANT,
    listeners=Listeners.IDLE,
)


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(steps).failed == 0


def test_a_plan_is_shown_the_same_every_time_as_text_and_as_html() -> None:
    plan = Plan((MAKE, READ, STOLEN), seed=7)
    assert plan.text().splitlines() == [
        "3 steps, about 4 requests, mode attack, seed 7: 2 read, 1 create; "
        "makes thread (removed by DELETE /api/threads/{thread_id})",
        "step  who         does                          how                                        requests",
        "────  ──────────  ────────────────────────────  ─────────────────────────────────────────  ────────",
        "   1  owner       POST /api/threads             –                                                 1",
        "   2  owner       GET /api/threads/{thread_id}  –                                                 1",
        "   3  other user  GET /api/threads/{thread_id}  path: other case, same instant, connected         2",
    ]
    assert "<table" in plan.html() and "GET /api/threads/{thread_id}" in plan.html()
    assert repr(plan) == folded(plan.text())


def test_a_plan_that_was_stored_is_the_same_plan_and_its_steps_keep_their_ids() -> None:
    plan = Plan((MAKE, STOLEN), seed=9)
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.to_json() == plan.to_json()
    assert [step.id for step in again] == [step.id for step in plan]
    assert len({READ.id, MAKE.id, STOLEN.id}) == 3


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema":1}', '{"schema":99,"seed":1,"steps":[]}',
             '{"schema":1,"seed":1,"steps":[{"operation":"GET /","role":"rob"}]}'],
)  # fmt: skip
def test_what_is_no_plan_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ParameterError):
        Plan.from_json(text)


def test_plans_are_joined_repeated_filtered_and_cut_down() -> None:
    plan = Plan((MAKE, READ), seed=7) + Plan((STOLEN,), seed=8)
    assert plan.seed == 7 and [*plan] == [MAKE, READ, STOLEN]
    assert [*plan * 2] == [MAKE, READ, STOLEN] * 2
    assert [*plan[1:]] == [READ, STOLEN]
    assert [*plan.where(role="read")] == [READ, STOLEN]
    assert [*plan.where(role=Role.READ, principal=(Principal.OTHER, Principal.NOBODY))] == [STOLEN]
    assert [*plan.where(lambda step: bool(step.makes))] == [MAKE]
    assert [*plan.without(READ.id)] == [MAKE, STOLEN]
    assert [*plan.within(3)] == [MAKE, READ] and [*plan.within(0)] == [] and plan.within(4) is plan
    with pytest.raises(ParameterError, match="no weather"):
        plan.where(weather="rain")


def test_what_a_plan_needs_costs_and_leaves_follows_from_its_steps() -> None:
    assert Plan((), seed=1).mode is Mode.OBSERVE
    assert Plan((MAKE, READ), seed=1).mode is Mode.PROBE
    assert Plan((MAKE, STOLEN), seed=1).mode is Mode.ATTACK
    assert Plan((MAKE, STOLEN), seed=1).makes == {"thread": "DELETE /api/threads/{thread_id}"}
    busy = Step(operation="DELETE /x/{id}", role=Role.DELETE, principal=Principal.OTHER, place=Place.PATH)
    assert READ.cost < STOLEN.cost < busy.cost
    large = Step(operation="GET /x", role=Role.LIST, connection=Connection.AFTER_LARGE)
    assert large.cost == 2
