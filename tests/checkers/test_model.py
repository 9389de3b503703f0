"""A correct platform is never accused; a broken one is, by the right checker, with a witness that convicts again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from netra_probe.checkers import REGISTRY, Window, judge
from netra_probe.checkers.verdict import Finding

from .conftest import deployments, seeds
from .model import World
from .model_faults import FAULTS, Fault, RefusalAsFailure
from .model_variants import VARIANT_FAULTS, Variants
from .model_whole import WHOLE_FAULTS, Whole
from .model_wire import History, Settings

EVERYTHING = [checker() for checker in REGISTRY.values()]
ALL_FAULTS = (*FAULTS, *VARIANT_FAULTS, *WHOLE_FAULTS, RefusalAsFailure)

patient = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def findings_of(history: History) -> list[Finding]:
    return [finding for judgement in history.judge(EVERYTHING) for finding in judgement.findings]


def convicts_again(history: History, finding: Finding) -> bool:
    """Whether the checker, shown only the context and the witness, comes to the same finding."""
    again = REGISTRY[finding.checker]()(history.witnesses(finding.witness), Window(start=history.start))
    return any(
        found.kind == finding.kind and found.recipients == finding.recipients and found.surface == finding.surface
        for found in again.findings
    )


@patient
@given(random=seeds(), deployment=deployments())
def test_a_correct_platform_is_never_accused(random: Random, deployment: Settings) -> None:
    assert findings_of(World(random, deployment).play()) == []


@patient
@given(random=seeds(), deployment=deployments())
def test_a_correct_platform_is_not_accused_when_attacked_and_looked_into(random: Random, deployment: Settings) -> None:
    assert findings_of(Whole(random, deployment).play()) == []


def test_a_correct_platform_leaves_no_doubt_where_everything_was_tried() -> None:
    judgements = Whole(Random(1), Settings()).play().judge(EVERYTHING)
    assert {judgement.checker for judgement in judgements if judgement.verdict != "pass"} == {"C11"}


@patient
@given(random=seeds(), deployment=deployments())
def test_the_same_script_looks_the_same_on_a_correct_platform(random: Random, deployment: Settings) -> None:
    history = Variants(random, deployment).play()
    assert findings_of(history) == []
    (judgement,) = judge([REGISTRY["C11"]()], history.operations, Window(start=history.start))
    assert judgement.verdict == "pass"


@pytest.mark.parametrize("checker", ["C1", "C2", "C3", "C4", "C8"])
@patient
@given(random=seeds())
def test_a_correct_platform_passes_without_doubt(checker: str, random: Random) -> None:
    (judgement,) = World(random, Settings()).play().judge([REGISTRY[checker]()])
    assert (judgement.verdict, judgement.doubts) == ("pass", ())


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=lambda fault: f"{fault.id}-{fault.__name__}")
@settings(patient, max_examples=12)
@given(random=seeds(), deployment=deployments())
def test_a_fault_is_found_by_its_checkers_with_witnesses_that_convict_again(
    fault: type[Fault], random: Random, deployment: Settings
) -> None:
    history = fault(random, fault.settings_for(deployment)).play()
    found = findings_of(history)
    assert {finding.checker for finding in found} == fault.caught_by
    assert fault.kinds & {finding.kind for finding in found}
    for finding in found:
        # A test of two samples needs the samples: no six operations can stand for them.
        assert finding.kind.startswith("wait depends") or convicts_again(history, finding), finding


def test_findings_explain_themselves() -> None:
    for fault in ALL_FAULTS:
        for finding in findings_of(fault(Random(1), fault.settings_for(Settings())).play()):
            # A cycle of transactions is a contradiction in other words.
            assert finding.explanation.startswith("Let ") or finding.checker == "C9"
            assert "a contradiction" in finding.explanation or "no serial order" in finding.explanation


@pytest.mark.parametrize("checker", REGISTRY)
def test_each_checker_is_the_only_one_to_find_some_fault(checker: str) -> None:
    alone = [fault.id for fault in ALL_FAULTS if fault.caught_by == {checker}]
    assert alone, f"nothing needs {checker}"


def test_one_seed_is_one_history() -> None:
    first, second = (World(Random(7), Settings(users=4, reconnects=True)).play() for _ in range(2))
    assert first == second
