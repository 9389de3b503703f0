"""Objects, lists, caches, memories, balances: a healthy lab keeps them apart, and each defect shows."""

from __future__ import annotations

import pytest
from acting import Acting

from netra_probe import workloads
from netra_probe.lab import Lab


async def test_every_operation_is_refused_to_whoever_is_not_the_owner(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.trespass(probe, owner=probe.users[0], intruder=probe.users[1]))
    assert outcome.counts["operations"] > 25
    assert outcome.counts["attempts"] > 100
    judged = healthy.judged()
    assert {id: judgement.findings for id, judgement in judged.items() if judgement.findings} == {}
    assert [judged[id].doubts for id in ("C1", "C2", "C5", "C8")] == [()] * 4
    assert judged["C5"].evidence["re-reads"] > 20


@pytest.mark.nightly
async def test_a_budget_is_kept_and_what_is_left_is_done_the_next_time(healthy: Acting) -> None:
    alice, bob, *_ = await healthy.probe.recruit(2)
    before = sum(operation.type == "invoke" for operation in healthy.probe.history)
    first = await workloads.trespass(healthy.probe, owner=alice, intruder=bob, budget=workloads.Budget(requests=150))
    sent = sum(operation.type == "invoke" for operation in healthy.probe.history) - before
    assert sent <= 150 + 2  # and two for the descriptions
    assert healthy.probe.notes.limits  # the case would be inconclusive
    second = await workloads.trespass(healthy.probe, owner=alice, intruder=bob)
    assert 0 < second.counts["operations"] <= first.counts["skipped (request limit)"]
    assert "skipped (request limit)" not in second.counts
    assert not healthy.probe.notes.limits


@pytest.mark.nightly
async def test_what_is_kept_for_one_is_not_for_the_next(healthy: Acting) -> None:
    turns = await healthy.do(lambda probe: workloads.read_in_turns(probe))
    assert turns.counts["refused without a token"] == 2 * turns.counts["routes"]
    await healthy.do(lambda probe: workloads.read_as_neighbour(probe, probe.users[0]))
    await healthy.do(lambda probe: workloads.identical_prompts(probe))
    await healthy.do(lambda probe: workloads.use_one_label(probe, rounds=1))
    followed = await healthy.do(lambda probe: workloads.sequential_jobs(probe))
    assert followed.counts["jobs completed"] == followed.counts["jobs"] == 3
    await healthy.probe.look()
    await healthy.do(
        lambda probe: workloads.reference_foreign_ids(probe, intruder=probe.users[1], owner=probe.users[0])
    )
    assert healthy.doubtless("C1", "C2", "C3", "C4", "C5", "C8", "C12") == {}


async def test_bursts_have_a_serial_explanation(healthy: Acting) -> None:
    spent = await healthy.do(lambda probe: workloads.spend_together(probe, probe.users[0]))
    assert dict(spent.counts) == {"spends": 6, "granted": 6, "competing": 6, "successful": 1}
    appended = await healthy.do(lambda probe: workloads.append_together(probe, probe.users[0]))
    assert dict(appended.counts) == {"appended": 6, "listed": 6}
    assert healthy.doubtless("C9") == {}


@pytest.mark.nightly
async def test_reads_and_writes_by_id_alone_are_found(on_broken_data: Acting) -> None:
    acting, (alice, bob) = on_broken_data, on_broken_data.probe.users
    await workloads.trespass(acting.probe, owner=alice, intruder=bob)
    said = {
        f"{finding.kind}: {place.operation}"
        for finding in acting.judged()["C5"].findings
        for place in finding.operations
    }
    assert said >= {
        "foreign read: GET /api/threads/{thread_id}",
        "foreign read: GET /api/chat/messages/{message_id}",
        "foreign write: PUT /api/threads/{thread_id}",
        "foreign write: DELETE /api/threads/{thread_id}",
    }


async def test_double_spends_are_found(on_broken_data: Acting, broken_data: Lab) -> None:
    acting = on_broken_data
    before = broken_data.status()["faults"]["D5"]["triggered"]
    await workloads.spend_together(acting.probe, acting.probe.users[0])
    assert broken_data.status()["faults"]["D5"]["triggered"] > before
    assert acting.found()["C9"] >= {"double spend", "lost update"}


@pytest.mark.nightly
async def test_tools_patterns_and_shared_defaults_are_found(on_broken_data: Acting) -> None:
    acting, (alice, bob) = on_broken_data, on_broken_data.probe.users
    await workloads.reference_foreign_ids(acting.probe, intruder=bob, owner=alice)
    found = acting.found()
    assert "foreign canary" in found["C1"]
    assert "foreign read" in found["C5"]
    await workloads.read_as_neighbour(acting.probe, alice)
    assert "foreign canary" in acting.found()["C1"]


@pytest.mark.nightly
async def test_what_is_remembered_for_the_wrong_one_is_found(on_broken_data: Acting) -> None:
    acting = on_broken_data
    for act in (workloads.identical_prompts, workloads.use_one_label):  # G5, G3
        await act(acting.probe)
        assert "foreign canary" in acting.found()["C1"], act.__name__
    followed = await workloads.sequential_jobs(acting.probe)
    # X3: the worker works for whoever came first to this lab, so that these users' jobs come to nothing.
    assert followed.counts["jobs completed"] < followed.counts["jobs"]
    assert "rest" in {finding.surface for finding in acting.judged()["C1"].findings}  # X4
