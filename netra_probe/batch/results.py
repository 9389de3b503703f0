"""``results.json``: computed from ``run.json`` and the histories of a run directory, and from nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from netra_probe.errors import OutputError, ParameterError
from netra_probe.history.store import History, HistoryError
from netra_probe.judging import ENDED, ScenarioResult, judge_history
from netra_probe.requirements import SCENARIOS
from netra_probe.verdict import Confidence, Verdict

SCHEMA = 1
RESULTS = "results.json"
PLAN = "run.json"
#: What a run directory holds beside these: what its notebooks leave.
FOLDERS = ("notebooks", "history", "logs")
#: What ``run.json`` says of each scenario, at least.
_ENTRY = {"id", "notebook", "status"}


def write_json(path: Path, value: Any) -> None:
    """Write in one step: a reader sees the old file or the new one, never half of it.

    Raises OutputError when it cannot be written.
    """
    fresh = path.with_name(path.name + ".partial")
    try:
        fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); make room or give a writable place. "
            "What was recorded before is kept."
        ) from None


def read_plan(run: Path) -> dict[str, Any]:
    """What the run set out to do and how each notebook's execution ended.

    Raises ParameterError when this is no run directory.
    """
    path = run / PLAN
    if not path.is_file():
        raise ParameterError(f"{run}: no {PLAN} in it; give a directory that `netra-probe run` has made.")
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ParameterError(f"{path}: damaged; restore it, or run again.") from None
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}).") from None
    if not isinstance(plan, dict) or plan.get("schema") != SCHEMA:
        raise ParameterError(f"{path}: another schema than {SCHEMA}; read it with the netra-probe that wrote it.")
    scenarios = plan.get("scenarios")
    if not isinstance(scenarios, list) or not all(isinstance(one, dict) and one.keys() >= _ENTRY for one in scenarios):
        raise ParameterError(f"{path}: damaged; restore it, or run again.")
    return plan


def find_history(run: Path, scenario: str) -> History | None:
    """The scenario's history in a run directory, compressed or (after a crash) plain."""
    for suffix in (".jsonl.gz", ".jsonl"):
        path = run / "history" / f"{scenario}{suffix}"
        if path.is_file():
            return History.open(path)
    return None


#: A scenario as ``results.json`` lists it, and as a value where there was anything to judge.
Judged: TypeAlias = tuple[dict[str, Any], ScenarioResult | None]


def compute(
    run: Path, *, keep: dict[str, ScenarioResult] | None = None, already: Mapping[str, Judged] | None = None
) -> dict[str, Any]:
    """The results of a run, judged from its histories; ``keep`` gets the judged scenarios themselves, by id.

    A scenario whose notebook did not end, or whose history was cut, is inconclusive with the reason; its cases that
    were never judged are listed as such. What is ``already`` judged, by ``judge_scenario``, is not judged again.
    """
    plan = read_plan(run)
    scenarios, judged = [], []
    for entry in plan["scenarios"]:
        record, result = (already or {}).get(str(entry["id"])) or judge_scenario(run, entry)
        scenarios.append(record)
        if result is not None:
            judged.append(result)
            if keep is not None:
                keep[record["id"]] = result
    leaks = sum(1 for record in scenarios for case in record["cases"] for finding in case["findings"]
                if finding["severity"] == "isolation")  # fmt: skip
    confidence = Confidence.of(
        runs=sum(result.confidence.runs for result in judged),
        deliveries=sum(result.confidence.deliveries for result in judged),
        leaks=leaks,
    )
    left = [f"{result.id}: {item}" for result in judged for item in result.cleanup.left]
    if after := plan.get("after"):
        left += [f"account {email}" for email in after["left"]]
        # What an ended notebook could not do was done for it.
        done = f"{ENDED}; {after['removed']} account(s) were removed afterwards"
        left = [item.replace(ENDED, done) if after["removed"] else item for item in left]
    cleanup = Verdict.worst(result.cleanup.verdict for result in judged)
    return {
        "schema": SCHEMA,
        "run": plan["run"],
        "environment": plan["environment"],
        "seed": plan["seed"],
        "verdict": str(Verdict.worst(Verdict(record["verdict"]) for record in scenarios)),
        "scenarios": scenarios,
        "confidence": confidence.as_dict(),
        "cleanup": {"verdict": str(cleanup), "left": left},
    }


def judge_scenario(run: Path, entry: Mapping[str, Any]) -> Judged:
    """One scenario of a run, from its history and from what ``run.json`` says of how its notebook ended."""
    id = str(entry["id"])
    result: ScenarioResult | None = None
    reason = str(entry.get("reason") or "")
    history = find_history(run, id)
    if history is None:
        reason = reason or "it left no history"
    else:
        try:
            result = judge_history(history)
        except (HistoryError, OSError) as error:
            reason = reason or str(error)
    known = SCENARIOS.get(id)
    title = result.title if result else known.title if known else id
    cases: list[dict[str, Any]] = result.as_record()["cases"] if result else []
    seen = {case["id"] for case in cases}
    if reason or result is None or result.truncated:
        reason = reason or "the recording was cut"
        for case, claim in (known.cases if known else {id: title}).items():
            if case not in seen:
                cases.append(_unjudged(case, claim, f"not reached: {reason}"))
    verdicts = [Verdict(case["verdict"]) for case in cases]
    if result is not None:
        verdicts.append(result.verdict)
    if reason:
        verdicts.append(Verdict.INCONCLUSIVE)
    return {
        "id": id,
        "title": title,
        "verdict": str(Verdict.worst(verdicts)),
        "seconds": result.seconds if result else 0.0,
        "cases": cases,
    }, result


def _unjudged(case: str, claim: str, reason: str) -> dict[str, Any]:
    return {
        "id": case,
        "title": claim,
        "verdict": str(Verdict.INCONCLUSIVE),
        "reason": reason,
        "requirements": [case.partition(".")[0], case],
        "findings": [],
    }
