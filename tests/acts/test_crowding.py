"""One user's load is one user's: on a healthy lab nobody else is told to slow down, with shared quotas they are."""

from __future__ import annotations

from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import noninterference
from netra_probe.checkers.attribution.attribution import attribute
from netra_probe.checkers.base import Window
from netra_probe.checkers.verdict import Judgement
from netra_probe.target.lab import as_target


async def crowded(probe: Investigation) -> tuple[dict[str, int], Judgement]:
    start = len(probe.history)
    outcome = await workloads.crowd_out(probe)
    return dict(outcome.counts), noninterference()(list(probe.history), Window(start=start))


async def test_a_busy_user_is_told_to_slow_down_and_nobody_else_is() -> None:
    probe = await investigate("C4", users=3)
    counts, judgement = await crowded(probe)
    await probe.close()
    assert counts["told to slow down"] == 1 and counts["others refused"] == 0
    assert (judgement.verdict, judgement.findings, judgement.doubts) == ("pass", (), ())


async def test_a_quota_of_the_address_refuses_those_who_asked_for_little(compose: Composed) -> None:
    lab = compose(("P5",))
    probe = await investigate("C4", users=3, target=as_target(lab))
    counts, judgement = await crowded(probe)
    await probe.close()
    assert lab.status()["faults"]["P5"]["triggered"] > 0
    assert counts["others refused"] >= 3
    assert {(finding.kind, finding.victims, finding.recipients) for finding in judgement.findings} == {
        ("refused for another's load", (name,), ("dave",)) for name in ("alice", "bob", "carol")
    }
    assert attribute(judgement.findings, list(probe.history)).groups[0].faults == ("P5",)
