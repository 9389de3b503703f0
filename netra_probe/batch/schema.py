"""The shape of ``run.json`` and ``results.json``, checked where files are read that others may have had in hand."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypedDict

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
    resumed: list[dict[str, Any]]


def is_plan(value: Any) -> bool:
    """Whether this is what ``run.json`` holds, as far as others rely on it."""
    return _fits(value, PlanRecord)


def is_results(value: Any) -> bool:
    """Whether this is what ``results.json`` holds, as far as others rely on it."""
    return _fits(value, Results)


def _fits(value: Any, shape: Any) -> bool:
    try:
        msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True
