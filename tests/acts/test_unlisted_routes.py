"""Routes that no description lists: found beside the listed ones, harmless in a healthy lab, seen when they leak."""

from __future__ import annotations

import pytest
from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import authorisation, canary, envelope
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.checkers.base import Window, judge
from netra_probe.checkers.verdict import Finding
from netra_probe.target.lab import as_target

EXPORT = "GET /api/threads/{thread_id}/export"


async def searched(probe: Investigation) -> tuple[dict[str, int], list[Finding]]:
    start, (alice, bob, *_) = len(probe.history), probe.users
    outcome = await workloads.search_unlisted(probe, owner=alice, intruder=bob)
    judgements = judge([canary(), envelope(), authorisation()], list(probe.history), Window(start=start))
    return dict(outcome.counts), [finding for judgement in judgements for finding in judgement.findings]


async def test_an_unlisted_route_is_found_and_named_and_is_no_finding_by_itself() -> None:
    probe = await investigate("C4", users=2)
    counts, found = await searched(probe)
    assert (await probe.close()).left == ()
    assert counts == {"names": 120, "found": 1, "attempts": 2}
    assert [finding.summary for finding in found] == []
    (routes, _) = probe.result().coverage["not searched"]
    assert routes.endswith(f"; answered: {EXPORT}") and "but for 120 names" in routes


@pytest.mark.nightly
async def test_a_forgotten_route_is_found_out(compose: Composed) -> None:
    lab = compose(("D8",))
    probe = await investigate("C4", users=2, target=as_target(lab))
    _, found = await searched(probe)
    await probe.close()
    assert lab.status()["faults"]["D8"]["triggered"] == 2
    assert {("C5", "foreign read", "bob"), ("C1", "foreign canary", "anonymous")} <= {
        (finding.checker, finding.kind, *finding.recipients) for finding in found
    }
    assert attribute(found, list(probe.history)).groups[0].faults == ("D8",)
