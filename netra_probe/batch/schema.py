"""The shape of ``run.json`` and ``results.json``, checked where files are read that others may have had in hand."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

import msgspec

VerdictName: TypeAlias = Literal["pass", "fail", "inconclusive", "not applicable"]


class Step(TypedDict):
    operation: int
    text: str


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


class CaseRecord(TypedDict):
    id: str
    title: str
    verdict: VerdictName
    reason: str
    findings: list[FindingRecord]


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
    confidence: ConfidenceRecord
    cleanup: CleanUpRecord


class PlannedScenario(TypedDict, total=False):
    id: str
    notebook: str


class PlanRecord(TypedDict, total=False):
    run: str
    environment: str
    users: int
    faults: list[str]
    versions: dict[str, str]
    scenarios: list[PlannedScenario]


def is_plan(value: Any) -> bool:
    """Whether this is what ``run.json`` holds, as far as others rely on it."""
    required = ("run", "environment", "scenarios")
    return _fits(value, PlanRecord) and all(name in value for name in required)


def is_results(value: Any) -> bool:
    """Whether this is what ``results.json`` holds, as far as others rely on it."""
    return _fits(value, Results)


def _fits(value: Any, shape: Any) -> bool:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return False
    return True
