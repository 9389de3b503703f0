"""The shape of ``run.json`` and ``results.json``, checked where files are read that others may have had in hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

import msgspec

from netra_probe.checkers.findings import MOST_SHOWN, shown
from netra_probe.checkers.judging import HIDDEN, counted

VerdictName: TypeAlias = Literal["pass", "fail", "inconclusive", "not applicable"]


class Step(TypedDict):
    operation: int
    text: str


class PairRecord(TypedDict):
    owner: str
    recipient: str
    count: int
    example: Step


class OperationRecord(TypedDict):
    operation: str
    pairs: list[PairRecord]


class FindingRecord(TypedDict):
    checker: str
    kind: str
    summary: str
    victims: list[str]
    recipients: list[str]
    surface: str
    witness: list[Step]
    attribution: list[str]
    explanation: str
    severity: str
    #: Results from before 2026-12 have none of these.
    operations: NotRequired[list[OperationRecord]]
    count: NotRequired[int]
    secrets: NotRequired[int]


class CaseRecord(TypedDict):
    id: str
    title: str
    verdict: VerdictName
    reason: str
    findings: list[FindingRecord]
    evidence: NotRequired[dict[str, int]]


class ScenarioRecord(TypedDict):
    id: str
    title: str
    verdict: VerdictName
    seconds: float
    cases: list[CaseRecord]


class ConfidenceRecord(TypedDict):
    runs: int
    deliveries: int
    upper_bound: float


class CleanUpRecord(TypedDict):
    verdict: VerdictName
    left: list[str]


class Results(TypedDict):
    schema: int
    run: str
    environment: str
    seed: int
    verdict: VerdictName
    scenarios: list[ScenarioRecord]
    #: By scenario, of those that carried out plans; results from before 2026-12 have none.
    coverage: NotRequired[dict[str, dict[str, Any]]]
    confidence: ConfidenceRecord
    cleanup: CleanUpRecord


#: A name that is part of a path below the run directory, and leads nowhere else.
Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?!\.\.?$)[^/\\\x00]*$", max_length=200)]


class _PlannedScenario(TypedDict):
    id: Name
    notebook: Name
    status: str


class PlannedScenario(_PlannedScenario, total=False):
    reason: str | None
    seconds: float
    cpu_seconds: float
    memory_mb: float


class AfterRecord(TypedDict):
    removed: int
    left: list[str]


class _PlanRecord(TypedDict):
    run: str
    environment: str
    seed: int
    scenarios: list[PlannedScenario]


class PlanRecord(_PlanRecord, total=False):
    users: int
    faults: list[str] | None
    versions: dict[str, str]
    parameters: dict[str, Any]
    started: str
    after: AfterRecord
    untriggered: list[str]
    resumed: list[dict[str, Any]]


def is_plan(value: Any) -> bool:
    """Whether this is what ``run.json`` holds, as far as others rely on it."""
    return _fits(value, PlanRecord)


def is_results(value: Any) -> bool:
    """Whether this is what ``results.json`` holds, as far as others rely on it."""
    return _fits(value, Results)


def operations_of(finding: Mapping[str, Any], most: int = MOST_SHOWN) -> list[str]:
    """What there is to mend, a line an operation: its name, whose data came to whom, how often, and one example.

    Up to ``most``, and how many more results.json holds. Nothing for results from before operations were listed.
    """
    places = finding.get("operations", [])
    lines = []
    for place in places[:most]:
        pairs = [
            f"{' → '.join(dict.fromkeys((pair['owner'] or 'nobody', pair['recipient'] or 'nobody')))} "
            f"×{pair['count']} (#{pair['example']['operation']})"
            for pair in place["pairs"]
        ]
        lines.append(f"{place['operation']}: {shown(pairs, most)}")
    return lines + [f"and {len(places) - most} more in results.json"] * (len(places) > most)


def basis(case: Mapping[str, Any]) -> str:
    """What a case rests on: its reason, and for a pass all numbers, also those that a notebook leaves out.

    A notebook's text is compared word by word with what is committed, so it can only show numbers that are the same in
    every healthy run. Nobody compares a terminal or a report.
    """
    reason = str(case["reason"])
    evidence = case.get("evidence", {}).items()
    numbers = [counted(name, count) for name, count in evidence if count and name not in HIDDEN]
    if case["verdict"] != "pass" or not numbers:
        return reason
    # What is no count of a checker stands in the reason alone.
    told = reason.split(" · ")
    beside = [part for part in told if part.startswith("hygiene: ")]
    return " · ".join([*beside, *numbers, *(part for part in told if "disturbance" in part)])


def _fits(value: Any, shape: Any) -> bool:
    try:
        msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True
