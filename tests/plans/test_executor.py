"""Plans carried out on real labs: every operation names its step, a healthy lab shows nothing, a faulty one does."""

from __future__ import annotations

import pytest
from composing import Composed
from msgspec import structs

from netra_probe import History, Investigation, investigate, workloads
from netra_probe.checkers import REGISTRY, canary
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.coverage import coverage
from netra_probe.checkers.judging import judge_history
from netra_probe.plans import Plan, Step
from netra_probe.plans.executor import Executor
from netra_probe.plans.steps import Listeners, Place, Principal, Role, Timing
from netra_probe.target.lab import as_target
from netra_probe.workloads.explore import budget_of

READ, RENAME = "GET /api/threads/{thread_id}", "PUT /api/threads/{thread_id}"
HEARD = {"role": Role.UPDATE, "listeners": Listeners.IDLE}


def found(probe: Investigation, start: int) -> set[tuple[str, str]]:
    judgements = judge([checker() for checker in REGISTRY.values()], list(probe.history), Window(start=start))
    return {
        (finding.checker, finding.kind)
        for judgement in judgements
        for finding in judgement.findings
        if finding.is_isolation_failure
    }


async def carry_out(probe: Investigation, plan: Plan) -> None:
    alice, bob, *_ = probe.users
    executor = await Executor.on(probe, owner=alice, other=bob, budget=budget_of(10_000))
    try:
        await executor.carry_out(plan)
    finally:
        await executor.close()


async def test_a_healthy_lab_shows_nothing_and_its_history_tells_the_coverage(probe: Investigation) -> None:
    alice, bob, *_ = probe.users
    start = len(probe.history)
    outcome = await workloads.explore(probe, owner=alice, other=bob, budget=220)
    assert outcome and outcome.counts["operations"] > 30
    assert found(probe, start) == set()
    planned = next(operation for operation in probe.history if operation.action == "plan")
    last = max(operation.index for operation in probe.history if operation.action == "step")
    begun = [op for op in probe.history if op.type == "invoke" and planned.index < op.index < last]
    assert begun and all("step" in operation.detail for operation in begun if operation.action != "send")
    await probe.close()
    live = probe.result().coverage
    assert live["steps"]["reached"] > 30 and live["steps"]["refused"] > 5
    again = judge_history(History.open(probe.history.path))
    assert again.coverage == live == coverage(History.open(probe.history.path))


@pytest.mark.nightly
async def test_a_second_exploration_goes_on_where_the_first_stopped(probe: Investigation) -> None:
    alice, bob, *_ = probe.users
    for _ in range(2):
        await workloads.explore(probe, owner=alice, other=bob, budget=100)
    taken = [str(op.detail["id"]) for op in probe.history if op.action == "step" and "why" not in op.detail]
    impossible = [op for op in probe.history if op.action == "step" and "impossible" in op.detail]
    assert len(taken) - len(impossible) == len(set(taken)) > 20


async def test_a_budget_of_one_request_is_one_step_with_stated_coverage(probe: Investigation) -> None:
    alice, bob, *_ = probe.users
    outcome = await workloads.explore(probe, owner=alice, other=bob, budget=1)
    assert outcome.counts["steps"] == 1
    record = probe.result().coverage
    assert record["steps"]["left out by budget"] > 1000 and record["pairs"]["covered"] < 50


async def test_what_cannot_be_done_is_said_and_the_plan_goes_on(probe: Investigation) -> None:
    nowhere = Step(operation="GET /no/such/route", role=Role.LIST)
    await carry_out(probe, Plan((nowhere, Step(operation="GET /api/threads", role=Role.LIST)), seed=7))
    record = probe.result().coverage
    assert (record["steps"]["impossible"], record["steps"]["reached"]) == (1, 1)
    assert "it is not sent here" in {entry["why"] for entry in record["impossible"]}


@pytest.mark.nightly
async def test_reaching_for_anothers_thread_is_found_out_by_its_cells(compose: Composed) -> None:
    probe = await investigate("C4", users=3, target=as_target(compose(("D1", "D2"))))
    steps = (
        Step(operation=READ, role=Role.READ, kind="thread", principal=Principal.OTHER, place=Place.PATH),
        Step(operation=RENAME, kind="thread", principal=Principal.OTHER, place=Place.PATH, **HEARD),
    )
    try:
        for step, kind in zip(steps, ("foreign read", "foreign write"), strict=True):
            start = len(probe.history)
            await carry_out(probe, Plan((step,), seed=7))
            assert ("C5", kind) in found(probe, start), step
    finally:
        await probe.close()


async def test_who_has_registered_an_address_again_is_refused_what_was_there_before(probe: Investigation) -> None:
    start = len(probe.history)
    again = {"principal": Principal.REGISTERED_AGAIN}
    read = Step(operation=READ, role=Role.READ, place=Place.PATH, **again)
    rename = Step(operation=RENAME, kind="thread", place=Place.PATH, **again, **HEARD)
    await carry_out(probe, Plan((read, rename, Step(operation="GET /api/threads", role=Role.LIST, **again)), seed=7))
    record = probe.result().coverage["steps"]
    assert (record["refused"], record["reached"], record["impossible"]) == (2, 1, 0)
    assert found(probe, start) == set()


async def test_whoever_writes_sees_something_of_their_own_in_the_same_plan(probe: Investigation) -> None:
    alice, bob, *_ = probe.users
    write = {"operation": "POST /api/threads/{thread_id}/messages", "role": Role.CREATE, "place": Place.PATH}
    steps = [
        Step(principal=who, listeners=Listeners.IDLE, **write)
        for who in (Principal.NAMESAKE, Principal.REGISTERED_AGAIN)
    ]
    executor = await Executor.on(probe, owner=alice, other=bob, budget=budget_of(10_000))
    for _ in range(2):
        start = len(probe.history)
        await executor.carry_out(Plan(tuple(steps), seed=7))
    await executor.close()
    assert canary()(list(probe.history), Window(start=start)).doubts == ()


async def test_beside_each_step_stands_what_became_of_it(probe: Investigation) -> None:
    alice, bob, *_ = probe.users
    lookup = Step(operation="tool thread_lookup", role=Role.READ, kind="thread")
    stolen = structs.replace(lookup, principal=Principal.OTHER, place=Place.ARGUMENT)
    start = len(probe.history)
    taken = await workloads.carry_out(probe, Plan((lookup, stolen), seed=7), owner=alice, other=bob)
    assert taken.text().splitlines() == [
        "2 steps: 1 reached, 1 refused",
        "step  who         does                how                outcome",
        "────  ──────────  ──────────────────  ─────────────────  ───────",
        "   1  owner       tool thread_lookup  –                  reached",
        "   2  other user  tool thread_lookup  tool argument: id  refused",
    ]
    assert found(probe, start) == set()


@pytest.mark.nightly
async def test_owners_keep_their_things_while_others_listen_run_and_reach_for_them(probe: Investigation) -> None:
    start = len(probe.history)
    steps = [
        Step(operation=RENAME, principal=who, place=Place.PATH, timing=when, role=Role.UPDATE, listeners=how)
        for who in (Principal.OTHER, Principal.NOBODY, Principal.ENDED)
        for when in (Timing.IN_TURN, Timing.SAME_INSTANT)
        for how in (Listeners.IDLE, Listeners.ACTIVE, Listeners.SSE)
    ]
    await carry_out(probe, Plan(tuple(steps), seed=7))
    assert found(probe, start) == set()
    assert probe.result().coverage["steps"]["refused"] == len(steps)
    frames = {op.user for op in probe.history if op.action == "receive" and op.index >= start}
    assert frames == {user.name for user in probe.users}
