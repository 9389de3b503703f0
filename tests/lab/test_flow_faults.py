"""The critical flows and journeys: every fault that was written for them turns the cases red that claim it."""

from __future__ import annotations

import pytest
from composing import Composed
from daily import one_in
from performing import perform, verdicts

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.verdict import Verdict
from netra_probe.lab.shared.faults import known_faults
from netra_probe.target.lab import as_target

FAULTS = {
    id: fault
    for id, fault in known_faults(kinds=("component",)).items()
    if fault.__module__.rpartition(".")[2].startswith(("flows_", "journeys"))
}
CLAIMS = [
    (fault, case.id)
    for scenario in SCENARIOS.values()
    for case in scenario.declared
    for fault in case.faults
    if fault in FAULTS
]


def test_every_fault_of_the_flows_is_claimed_by_a_case() -> None:
    assert {fault for fault, _ in CLAIMS} == set(FAULTS)


@pytest.mark.parametrize("fault", one_in(len(FAULTS), sorted(FAULTS)))
async def test_a_fault_turns_the_cases_red_that_claim_it(fault: str, compose: Composed) -> None:
    cases = {case for claimed, case in CLAIMS if claimed == fault}
    lab = compose((fault,))
    for scenario in sorted({case.partition(".")[0] for case in cases}):
        wanted = {case for case in cases if case.startswith(f"{scenario}.")}
        found = verdicts(await perform(scenario, only=wanted, target=as_target(lab)))
        assert found == dict.fromkeys(sorted(wanted), Verdict.FAIL)
    assert lab.status()["faults"][fault]["triggered"]
