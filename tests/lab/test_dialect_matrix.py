"""Deployments × (healthy, four faults): in no dialect is a healthy one accused, and in each the faults are found.

The notebooks' own cells are performed. Envelopes are the edge of a backend, so that a recording of the contract, said
again in a dialect, is what a deployment of that dialect would have said (`dialect_recordings`): by day each dialect is
judged on such a recording, and the strangest deployments live; every night all of them are live. What is left out:

- C4 is performed in full on every healthy dialect; with a fault only up to the case that shows it.
- W1 (broadcast) is looked for in every dialect, because its traces travel in the envelope, and X1 (a user who is not
  the caller's) in those that name no run. D1 (no owner asked for) and A1 (signatures not checked) show over REST, where
  all dialects are the same: they are looked for where the sockets are strangest, by the cases about them.
- Half-dead targets, and those without a welcome, are slow by nature: one case of C4 has to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from composing import Composed
from dialect_recordings import NAMES_NO_RUN, in_dialect
from performing import leaks, perform, verdicts

from netra_probe.checkers.verdict import CaseResult, Verdict
from netra_probe.history import actions
from netra_probe.history.store import History
from netra_probe.lab import Variant
from netra_probe.target.lab import as_target

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
#: Nothing goes astray on a healthy lab, however long it takes on a busy machine.
FEW = {"users": 2, "rounds": 1, "deadline": 60.0}
#: Faults that show with some luck are looked for with more rounds; what goes astray is not waited for.
MORE = {"users": 3, "rounds": 3, "deadline": 1.0}
night = pytest.mark.nightly


def is_red(case: CaseResult) -> bool:
    return case.verdict is Verdict.FAIL


def by_night(values: list[Variant], *by_day: Variant) -> list[object]:
    """All values, those that are not for the day as well for the night only."""
    return [pytest.param(value, marks=() if value in by_day else night, id=str(value)) for value in values]


async def recorded(folder: Path, **performed: object) -> Path:
    """The recording of a performance of C4."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NETRA_PROBE_RUN", str(folder))
        await perform("C4", **performed)  # type: ignore[arg-type]
    return folder / "history" / "C4.jsonl.gz"


@pytest.fixture(scope="module")
async def healthy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """C4 on the session's lab."""
    yield await recorded(tmp_path_factory.mktemp("healthy"), **FEW)


@pytest.fixture(scope="module")
async def broadcast(compose: Composed, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """C4 on a lab with W1, up to the case that shows it."""
    lab = compose(("W1",))
    recording = await recorded(tmp_path_factory.mktemp("W1"), target=as_target(lab), until=is_red, **MORE)
    assert lab.status()["faults"]["W1"]["triggered"] > 0
    yield recording


@pytest.mark.parametrize("variant", DIALECTS, ids=str)
async def test_a_recording_of_a_healthy_deployment_passes_in_every_dialect(
    healthy: Path, variant: Variant, tmp_path: Path
) -> None:
    said = await in_dialect(healthy, variant.dialect, tmp_path / "C4.jsonl")
    received = {name for one in History.open(said) if one.action == actions.RECEIVE for name in one.ids}
    assert ("run_id" in received) == (variant.dialect not in NAMES_NO_RUN)
    result = await perform("C4", target={"replay": str(said)}, **FEW)
    assert leaks(result) == []
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]


@pytest.mark.parametrize("variant", DIALECTS, ids=str)
async def test_a_broadcast_is_found_in_a_recording_in_every_dialect(
    broadcast: Path, variant: Variant, tmp_path: Path
) -> None:
    said = await in_dialect(broadcast, variant.dialect, tmp_path / "C4.jsonl")
    result = await perform("C4", target={"replay": str(said)}, until=is_red, **MORE)
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]
    assert leaks(result)


MIXED = Variant(dialect="mixed")


@pytest.mark.parametrize("variant", by_night([*DIALECTS, *MANNERS, UNWELCOMING], MIXED))
@pytest.mark.nightly
async def test_a_healthy_deployment_passes_in_every_dialect(compose: Composed, variant: Variant) -> None:
    only = {"C4.1"} if variant is UNWELCOMING else None
    lab = compose(variant=variant)
    result = await perform("C4", only=only, target=as_target(lab), **FEW)
    assert leaks(result) == []
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]
    assert (result.cleanup.verdict, result.cleanup.left) == (Verdict.PASS, ())


DELIVERY = [(variant, "W1") for variant in DIALECTS]
DELIVERY += [(variant, "X1") for variant in DIALECTS if variant.dialect in NAMELESS]


@night
@pytest.mark.parametrize(("variant", "fault"), DELIVERY, ids=str)
async def test_faults_of_delivery_are_found_in_every_dialect(compose: Composed, variant: Variant, fault: str) -> None:
    lab = compose((fault,), variant=variant)
    result = await perform("C4", target=as_target(lab), until=is_red, **MORE)
    counts = lab.status()["faults"][fault]
    assert counts["triggered"] > 0
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]


#: The cases about the four faults, in notebooks that are quick to them.
ABOUT = {"W1": "C4.1", "X1": "C4.2", "D1": "D3.3", "A1": "A1.3"}


@pytest.mark.parametrize("fault", ["W1", *(pytest.param(fault, marks=night) for fault in ("X1", "D1", "A1"))])
async def test_the_faults_are_found_on_the_strangest_deployment(compose: Composed, fault: str) -> None:
    case = ABOUT[fault]
    lab = compose((fault,), variant=STRANGEST)
    result = await perform(case.partition(".")[0], only={case}, target=as_target(lab), **MORE)
    assert lab.status()["faults"][fault]["triggered"] > 0
    assert result.verdict is Verdict.FAIL, [case.reason for case in result.cases]
    assert leaks(result)


@pytest.mark.parametrize("notebook", ["C4", pytest.param("D3", marks=night), pytest.param("A1", marks=night)])
@pytest.mark.nightly
async def test_the_strangest_deployment_is_not_accused_while_it_is_healthy(compose: Composed, notebook: str) -> None:
    lab = compose(variant=STRANGEST)
    cases = {case for case in ABOUT.values() if case.startswith(notebook)}
    result = await perform(notebook, only=cases, target=as_target(lab), **FEW)
    assert leaks(result) == []
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]


@pytest.mark.parametrize("dialect", ["server", *(pytest.param(name, marks=night) for name in ("bridge", "mixed"))])
@pytest.mark.nightly
async def test_runs_that_cannot_be_told_apart_accuse_nobody(compose: Composed, dialect: str) -> None:
    """Several questions of one user at once, where events name no thread, no run, or now this and now that."""
    lab = compose(variant=Variant(dialect=dialect))
    result = await perform("S1", only={"S1.1"}, target=as_target(lab), users=3, rounds=1, deadline=5.0)
    assert leaks(result) == []
    expected = Verdict.INCONCLUSIVE if dialect == "server" else Verdict.PASS
    assert set(verdicts(result).values()) == {expected}, [case.reason for case in result.cases]


@pytest.mark.nightly
async def test_refused_handshakes_shut_nobody_out_where_five_in_a_row_would(compose: Composed) -> None:
    lab = compose(variant=Variant(breaker=True))
    result = await perform("A2", only={"A2.5"}, target=as_target(lab), **FEW)
    assert set(verdicts(result).values()) == {Verdict.PASS}, [case.reason for case in result.cases]


@pytest.mark.parametrize("zombie", ["lingering", pytest.param("silent", marks=night)])
async def test_a_half_dead_target_decides_no_case_that_needs_its_sockets(compose: Composed, zombie: str) -> None:
    """Sockets that say welcome, and then nothing, or nothing after a second."""
    lab = compose(variant=Variant(zombie=zombie))
    result = await perform("C4", only={"C4.1"}, target=as_target(lab), **{**FEW, "deadline": 1.0})
    assert set(verdicts(result).values()) == {Verdict.INCONCLUSIVE}, [case.reason for case in result.cases]


@pytest.mark.parametrize("identity", ["demo-users", pytest.param("demo-user", marks=night)])
async def test_sockets_of_another_identity_are_a_finding_from_the_first_case_on(
    compose: Composed, identity: str
) -> None:
    lab = compose(variant=Variant(identity=identity))
    result = await perform("C4", target=as_target(lab), until=is_red, **FEW)
    assert any("identity not bound" in leak for leak in leaks(result)), leaks(result)
