"""Deployments × (healthy, four faults): in no dialect is a healthy one accused, and in each the faults are found.

The notebooks' own cells are performed, each trial on a lab of its own. What is left out, and why:

- C4 in full is performed on every healthy dialect; with a fault only up to the case that shows it.
- W1 (broadcast) is looked for in every dialect, because its traces travel in the envelope, and X1 (a user who is not
  the caller's) in those that name no run. D1 (no owner asked for) and A1 (signatures not checked) show over REST, where
  all dialects are the same: they are looked for where the sockets are strangest, with the case of S1 about them.
- S1 in full takes half a minute: one deployment that differs in everything stands for the others. Its healthy cases are
  also held to the contract by the committed notebook.
- Half-dead targets, and those without a welcome, are slow by nature: two cases of C4 have to do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from performing import leaks, perform, verdicts

from netra_probe.lab import Lab, Variant, start_lab
from netra_probe.lab_target import as_target
from netra_probe.verdict import CaseResult, Verdict

DIALECTS = [Variant(dialect=name) for name in Variant.choices("dialect")[1:]]
#: Their events, or some of them, carry no run id.
NAMELESS = ("factory", "server", "agent-request", "fallback", "mixed")
#: Healthy deployments that differ in something else than their envelopes.
MANNERS = [
    Variant(handshake="http-403", welcome="plain"),
    Variant(handshake="1011", welcome="connect", dialect="agent-request", only_agent_request=True),
    Variant(welcome="after-ping", database=False, cache=False),
]
UNWELCOMING = Variant(welcome="none")
#: The one that differs in everything that is still a deployment in good order.
STRANGEST = Variant(
    dialect="factory", handshake="http-403", welcome="connect", only_agent_request=True, database=False, cache=False
)
FEW = {"users": 2, "rounds": 1, "deadline": 5.0}
#: Faults that may show at any moment, or with some luck, are looked for with more rounds.
MORE = {"users": 3, "rounds": 3, "deadline": 5.0}
OTHERS = ("oidc",)


def is_red(case: CaseResult) -> bool:
    return case.verdict is Verdict.FAIL


@pytest.mark.parametrize("variant", [*DIALECTS, *MANNERS, UNWELCOMING], ids=str)
async def test_a_healthy_deployment_passes_in_every_dialect(variant: Variant) -> None:
    only = {"C4.1", "C4.3"} if variant is UNWELCOMING else None
    with start_lab(variant=variant, without=OTHERS) as lab:
        result = await perform("C4", only=only, target=as_target(lab), **FEW)
    assert leaks(result) == []
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]
    assert (result.cleanup.verdict, result.cleanup.left) == (Verdict.PASS, ())


DELIVERY = [(variant, "W1") for variant in DIALECTS]
DELIVERY += [(variant, "X1") for variant in DIALECTS if variant.dialect in NAMELESS]


@pytest.mark.parametrize(("variant", "fault"), DELIVERY, ids=str)
async def test_faults_of_delivery_are_found_in_every_dialect(variant: Variant, fault: str) -> None:
    with start_lab(faults=(fault,), variant=variant, without=OTHERS) as lab:
        result = await perform("C4", target=as_target(lab), until=is_red, **MORE)
        counts = lab.status()["faults"][fault]
    assert counts["triggered"] > 0
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]


@pytest.mark.parametrize(("fault", "case"), [("W1", "S1.1"), ("X1", "S1.1"), ("D1", "S1.3"), ("A1", "S1.8")])
async def test_the_sweep_finds_faults_on_the_strangest_deployment(fault: str, case: str) -> None:
    with start_lab(faults=(fault,), variant=STRANGEST) as lab:
        result = await perform("S1", only={case}, target=as_target(lab), **FEW)
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]
    assert leaks(result)


async def test_the_sweep_accuses_no_healthy_deployment_however_strange() -> None:
    with start_lab(variant=STRANGEST) as lab:
        result = await perform("S1", target=as_target(lab), **FEW)
    assert leaks(result) == []
    assert verdicts(result)["S1.10"] is Verdict.NOT_APPLICABLE


@pytest.fixture(params=["silent", "lingering"])
def half_dead(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Sockets that say welcome, and then nothing, or nothing after a second."""
    with start_lab(variant=Variant(zombie=request.param), without=OTHERS) as lab:
        yield lab


async def test_a_half_dead_target_decides_no_case_that_needs_its_sockets(half_dead: Lab) -> None:
    result = await perform("C4", only={"C4.1", "C4.2"}, target=as_target(half_dead), **{**FEW, "deadline": 1.0})
    assert set(verdicts(result).values()) == {Verdict.INCONCLUSIVE}, [case.reason for case in result.cases]


@pytest.mark.parametrize("identity", ["demo-user", "demo-users"])
async def test_sockets_of_another_identity_are_a_finding_from_the_first_case_on(identity: str) -> None:
    with start_lab(variant=Variant(identity=identity), without=OTHERS) as lab:
        result = await perform("C4", target=as_target(lab), until=is_red, **FEW)
    assert any("identity not bound" in leak for leak in leaks(result)), leaks(result)
