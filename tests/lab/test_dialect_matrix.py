"""Deployments × (healthy, four faults): in no dialect is a healthy one accused, and in each the faults are found.

The notebooks' own cells are performed, each trial on a lab of its own. What is left out, and why:

- C4 is performed in full on every healthy dialect; with a fault only up to the case that shows it.
- W1 (broadcast) is looked for in every dialect, because its traces travel in the envelope, and X1 (a user who is not
  the caller's) in those that name no run. D1 (no owner asked for) and A1 (signatures not checked) show over REST, where
  all dialects are the same: they are looked for where the sockets are strangest, by the cases about them.
- Half-dead targets, and those without a welcome, are slow by nature: one case of C4 has to do.
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
    Variant(welcome="after-ping", database=False, cache=False, breaker=True),
]
UNWELCOMING = Variant(welcome="none")
#: The one that differs in everything that is still a deployment in good order.
STRANGEST = Variant(
    dialect="factory", handshake="http-403", welcome="connect", only_agent_request=True, database=False, cache=False
)
FEW = {"users": 2, "rounds": 1, "deadline": 5.0}
#: Faults that show with some luck are looked for with more rounds; what goes astray is not waited for.
MORE = {"users": 3, "rounds": 3, "deadline": 1.0}
OTHERS = ("oidc",)


def is_red(case: CaseResult) -> bool:
    return case.verdict is Verdict.FAIL


@pytest.mark.parametrize("variant", [*DIALECTS, *MANNERS, UNWELCOMING], ids=str)
async def test_a_healthy_deployment_passes_in_every_dialect(variant: Variant) -> None:
    only = {"C4.1"} if variant is UNWELCOMING else None
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


#: The cases about the four faults, in notebooks that are quick to them.
ABOUT = {"W1": "C4.1", "X1": "C4.2", "D1": "D3.3", "A1": "A1.3"}


@pytest.mark.parametrize("fault", ABOUT)
async def test_the_faults_are_found_on_the_strangest_deployment(fault: str) -> None:
    case = ABOUT[fault]
    with start_lab(faults=(fault,), variant=STRANGEST, without=OTHERS) as lab:
        result = await perform(case.partition(".")[0], only={case}, target=as_target(lab), **MORE)
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]
    assert leaks(result)


async def test_the_strangest_deployment_is_not_accused_while_it_is_healthy() -> None:
    with start_lab(variant=STRANGEST, without=OTHERS) as lab:
        for notebook in ("C4", "D3", "A1"):
            cases = {case for case in ABOUT.values() if case.startswith(notebook)}
            result = await perform(notebook, only=cases, target=as_target(lab), **FEW)
            assert leaks(result) == []
            assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]


@pytest.mark.parametrize("dialect", ["bridge", "server", "mixed"])
async def test_runs_that_cannot_be_told_apart_accuse_nobody(dialect: str) -> None:
    """Several questions of one user at once, where events name no thread, no run, or now this and now that."""
    with start_lab(variant=Variant(dialect=dialect), without=OTHERS) as lab:
        result = await perform("S1", only={"S1.1"}, target=as_target(lab), users=3, rounds=1, deadline=5.0)
    assert leaks(result) == []
    expected = Verdict.PASS if dialect == "bridge" else Verdict.INCONCLUSIVE
    assert set(verdicts(result).values()) == {expected}, [case.reason for case in result.cases]


async def test_refused_handshakes_shut_nobody_out_where_five_in_a_row_would() -> None:
    with start_lab(variant=Variant(breaker=True), without=OTHERS) as lab:
        result = await perform("A2", only={"A2.5"}, target=as_target(lab), **FEW)
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]


@pytest.fixture(params=["silent", "lingering"])
def half_dead(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Sockets that say welcome, and then nothing, or nothing after a second."""
    with start_lab(variant=Variant(zombie=request.param), without=OTHERS) as lab:
        yield lab


async def test_a_half_dead_target_decides_no_case_that_needs_its_sockets(half_dead: Lab) -> None:
    result = await perform("C4", only={"C4.1"}, target=as_target(half_dead), **{**FEW, "deadline": 1.0})
    assert set(verdicts(result).values()) == {Verdict.INCONCLUSIVE}, [case.reason for case in result.cases]


@pytest.mark.parametrize("identity", ["demo-user", "demo-users"])
async def test_sockets_of_another_identity_are_a_finding_from_the_first_case_on(identity: str) -> None:
    with start_lab(variant=Variant(identity=identity), without=OTHERS) as lab:
        result = await perform("C4", target=as_target(lab), until=is_red, **FEW)
    assert any("identity not bound" in leak for leak in leaks(result)), leaks(result)
