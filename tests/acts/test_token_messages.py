"""Tokens in messages: whoever a connection acts for, it is that one's events that it carries."""

from __future__ import annotations

import pytest
from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import REGISTRY
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.plans import Plan, Step
from netra_probe.plans.executor import Executor
from netra_probe.plans.steps import Channel, Place, Principal, Role
from netra_probe.target.lab import as_target
from netra_probe.workloads.explore import budget_of


async def swapped(probe: Investigation) -> tuple[str, dict[str, Judgement]]:
    start, (alice, bob) = len(probe.history), probe.users
    outcome = await workloads.swap_identity(probe, bob, alice)
    judgements = judge([kind() for kind in REGISTRY.values()], list(probe.history), Window(start=start))
    return repr(outcome), {judgement.checker: judgement for judgement in judgements}


async def test_another_users_token_is_refused_and_the_socket_stays_who_it_was() -> None:
    probe = await investigate("C4", users=2)
    said, judged = await swapped(probe)
    assert said == "Tokens shown on open sockets (bob, alice): 2 presented, 1 accepted, 2 acting for themselves"
    assert {id: judgement.findings for id, judgement in judged.items() if judgement.findings} == {}
    assert judged["C6"].evidence["valid credentials accepted"] == 2
    assert (await probe.close()).left == ()


@pytest.mark.nightly
async def test_a_socket_that_acts_for_one_and_hears_another_is_found(compose: Composed) -> None:
    lab = compose(("A11",))
    probe = await investigate("C4", users=2, target=as_target(lab))
    said, judged = await swapped(probe)
    await probe.close()
    assert lab.status()["faults"]["A11"]["triggered"] == 1
    assert said == "Tokens shown on open sockets (bob, alice): 2 presented, 2 accepted, 1 acting for themselves"
    (finding,) = judged["C6"].findings
    assert finding.kind == "valid credential answered as another"
    assert attribute(judged["C6"].findings, list(probe.history)).groups[0].faults == ("A11",)


async def test_the_explorer_shows_tokens_in_messages() -> None:
    probe = await investigate("C4", users=2)
    start, (alice, bob) = len(probe.history), probe.users
    history = {"operation": "message get_thread_history", "role": Role.READ, "surface": "websocket", "kind": "thread"}
    shown = {"operation": "message refresh_token", "role": Role.ISSUE, "surface": "websocket"}
    steps = (
        Step(**shown),
        Step(**shown, principal=Principal.OTHER, place=Place.MESSAGE),
        Step(**history, channel=Channel.MESSAGE),
        Step(**history, channel=Channel.MESSAGE, principal=Principal.OTHER, place=Place.MESSAGE),
    )
    executor = await Executor.on(probe, owner=alice, other=bob, budget=budget_of(1000))
    await executor.carry_out(Plan(steps, seed=7))
    await executor.close()
    judgements = judge([kind() for kind in REGISTRY.values()], list(probe.history), Window(start=start))
    assert [finding.summary for judgement in judgements for finding in judgement.findings] == []
    assert {judgement.checker: judgement.doubts for judgement in judgements}["C5"] == ()
    await probe.close()
    record = probe.result().coverage["steps"]
    assert (record["reached"], record["refused"], record["impossible"]) == (4, 0, 0)
