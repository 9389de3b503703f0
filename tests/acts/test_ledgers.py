"""Balances are what there was and one's own entries: on a healthy lab they add up, and not where entries are pinned."""

from __future__ import annotations

import pytest
from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import canary, transactions
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.target.lab import as_target


async def kept(probe: Investigation) -> tuple[str, tuple[Judgement, ...]]:
    start = len(probe.history)
    outcome = await workloads.keep_books(probe)
    return repr(outcome), tuple(judge([transactions(), canary()], list(probe.history), Window(start=start)))


async def test_books_balance_on_a_healthy_lab() -> None:
    probe = await investigate("C4", users=3)
    said, judgements = await kept(probe)
    assert (await probe.close()).left == ()
    assert said == "Balances beside their entries (alice, bob, carol): 6 spends, 12 readings"
    assert judgements[0].evidence["ledger readings compared"] == 9
    assert [finding.summary for judgement in judgements for finding in judgement.findings] == []


@pytest.mark.nightly
async def test_entries_that_are_booked_to_the_first_user_do_not_add_up(compose: Composed) -> None:
    lab = compose(("D6",))
    probe = await investigate("C4", users=3, target=as_target(lab))
    _, judgements = await kept(probe)
    await probe.close()
    assert lab.status()["faults"]["D6"]["triggered"] == 4
    found = [finding for judgement in judgements for finding in judgement.findings]
    books = {finding.victims for finding in found if finding.kind == "books do not balance"}
    assert books == {("alice",), ("bob",), ("carol",)}
    assert attribute(found, list(probe.history)).groups[0].faults == ("D6",)
