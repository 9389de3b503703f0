"""An address that changes hands: a healthy lab starts anew, one that only hides what is erased is found out."""

from __future__ import annotations

import pytest
from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import authorisation, canary, envelope
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Finding
from netra_probe.target.lab import as_target


async def looked(probe: Investigation) -> tuple[dict[str, int], list[Finding]]:
    start = len(probe.history)
    outcome = await workloads.reuse_address(probe)
    judgements = judge([canary(), envelope(), authorisation()], list(probe.history), Window(start=start))
    return dict(outcome.counts), [finding for judgement in judgements for finding in judgement.findings]


async def test_who_registers_an_address_again_finds_nothing_of_before() -> None:
    probe = await investigate("C4", users=2)
    counts, found = await looked(probe)
    assert (await probe.close()).left == ()
    assert counts["accounts"] == 2 and counts["own reads"] > 10 and counts["former ids refused"] > 5
    assert [finding.summary for finding in found] == []


@pytest.mark.nightly
async def test_what_was_only_hidden_comes_back_with_the_address_and_is_seen(compose: Composed) -> None:
    lab = compose(("D7",))
    probe = await investigate("C4", users=2, target=as_target(lab))
    _, found = await looked(probe)
    await probe.close()
    assert lab.status()["faults"]["D7"]["triggered"] > 0
    assert {("C1", "foreign canary", ("carol",), ("dave",))} <= {
        (finding.checker, finding.kind, finding.victims, finding.recipients) for finding in found
    }
    assert attribute(found, list(probe.history)).groups[0].faults == ("D7",)
