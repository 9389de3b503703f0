"""``results.json``: computed from what a run directory holds, and from what notebooks and faults declare."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from netra_probe import checkers
from netra_probe.catalogue.scenarios import SCENARIOS, scenario_of
from netra_probe.checkers.judging import ENDED, NOT_RUN, ScenarioResult, damaged, judge_history
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.store import StoreChecker
from netra_probe.checkers.verdict import Confidence, Verdict, heading
from netra_probe.errors import OutputError, ParameterError
from netra_probe.history.limits import whole
from netra_probe.history.store import History, HistoryError
from netra_probe.history.untrusted import UNDECODABLE
from netra_probe.results.schema import is_plan

#: Checkers that a notebook drops where the target has none of their surfaces (``acts.applicable_checkers``).
_CONDITIONAL = frozenset((StoreChecker.id, ResourceChecker.id))


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One case: the ids of the checkers that it surely has, and whether it needs surfaces that may be missing."""

    checkers: frozenset[str]
    needs: bool


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    cells: list[_Cell] = []


def declared_cases(notebook: Path) -> dict[str, Declared]:
    """The cases that a notebook checks, by id; nothing where it cannot be read, or checks them in another way."""
    try:
        cells = msgspec.json.decode(notebook.read_bytes(), type=_Notebook).cells
    except (OSError, *UNDECODABLE):
        return {}
    found: dict[str, Declared] = {}
    for cell in cells:
        if cell.cell_type != "code":
            continue
        for case, declared in _checks(cell.source if isinstance(cell.source, str) else "".join(cell.source)):
            before = found.get(case, declared)
            found[case] = Declared(checkers=before.checkers & declared.checkers, needs=before.needs or declared.needs)
    return found


def _checks(source: str) -> Iterator[tuple[str, Declared]]:
    """Each ``….check("C4.2", canary(), …)`` in a cell; none in one that is no plain Python."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for call in calls:
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "check" and call.args):
            continue
        case = call.args[0]
        if isinstance(case, ast.Constant) and isinstance(case.value, str):
            ids = frozenset(id for argument in call.args[1:] for id in _checkers(argument))
            yield case.value, Declared(checkers=ids, needs=any(word.arg in ("needs", None) for word in call.keywords))


def _checkers(argument: ast.expr) -> Iterator[str]:
    """The ids of the checkers that an argument makes for certain."""
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name):
        made = getattr(checkers, argument.func.id, None)
        if isinstance(made, type) and issubclass(made, checkers.Checker):
            yield made.id
    elif isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Call):
        within = argument.value
        if isinstance(within.func, ast.Attribute) and within.func.attr == "applicable_checkers":
            for inner in within.args:
                yield from (id for id in _checkers(inner) if id not in _CONDITIONAL)


SCHEMA = 1
RESULTS = "results.json"
PLAN = "run.json"
#: What a run directory holds beside these: what its notebooks leave.
FOLDERS = ("notebooks", "history", "logs")
#: What a run ends with in which no case applied: it proves nothing.
NOTHING_DECIDED = "Nothing was decided: no case applies to this target with what may be done there."


def write_json(path: Path, value: Any) -> None:
    """Write in one step: a reader sees the old file or the new one, never half of it.

    Raises OutputError when it cannot be written.
    """
    fresh = path.with_name(path.name + ".partial")
    try:
        fresh.write_bytes(as_bytes(value))
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); make room or give a writable place. "
            "What was recorded before is kept."
        ) from None


def as_bytes(value: Any) -> bytes:
    """A value as it is stored."""
    return f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode()


def read_json(path: Path, remedy: str) -> Any:
    """What a file holds that others may have had in hand. Raises ParameterError when it cannot be read.

    What JSON does not allow (NaN, halves of characters, nesting without end) is damage as well.
    """
    try:
        with path.open("rb") as stream:
            return msgspec.json.decode(whole(stream, path))
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except UNDECODABLE:
        raise ParameterError(f"{path}: damaged; {remedy}") from None


def read_plan(run: Path) -> dict[str, Any]:
    """What the run set out to do and how each notebook's execution ended.

    Raises ParameterError when this is no run directory.
    """
    path = run / PLAN
    if not path.exists():
        raise ParameterError(f"{run}: no {PLAN} in it; give a directory that `netra-probe run` has made.")
    plan = read_json(path, "restore it, or run again.")
    if not isinstance(plan, dict) or plan.get("schema") != SCHEMA:
        raise ParameterError(f"{path}: another schema than {SCHEMA}; read it with the netra-probe that wrote it.")
    if not is_plan(plan):
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

    A scenario whose notebook did not end, or left cases or its clean-up out, or whose history was cut, damaged, or is
    not that of this run, is inconclusive with the reason; its cases that were not run are listed as such. What is
    ``already`` judged, by ``judge_scenario``, is not judged again.
    """
    plan = read_plan(run)
    scenarios, judged = [], []
    for entry in [*plan["scenarios"], *_unlisted(run, plan)]:
        record, result = (already or {}).get(str(entry["id"])) or judge_scenario(run, entry)
        if result is not None and (differs := _differences(run, plan, entry, result)):
            record = _distrusted(record, f"the recording does not belong to this run: {damaged(differs)}")
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
        "coverage": {result.id: result.coverage for result in judged if result.coverage},
        "confidence": confidence.as_dict(),
        "cleanup": {"verdict": str(cleanup), "left": left},
    }


def judge_scenario(run: Path, entry: Mapping[str, Any]) -> Judged:
    """One scenario of a run, from its history and from what ``run.json`` says of how its notebook ended."""
    history = find_history(run, str(entry["id"]))
    if history is None:
        return _scenario_record(entry, None, trouble="it left no history"), None
    try:
        result = judge_history(history)
    except HistoryError as error:
        return _scenario_record(entry, None, trouble=str(error)), None
    except Exception as error:
        # Of a sound recording that is a defect of ours, and hidden from nobody.
        if not (signs := history.damage):
            raise
        trouble = f"the recording is damaged: {damaged(signs)} ({type(error).__name__})"
        return _scenario_record(entry, None, trouble=trouble), None
    trouble = f"the recording is damaged: {damaged(result.damage)}" if result.damage else ""
    record = _scenario_record(entry, result, trouble=trouble)
    # What the judgement rests on, to the byte; older recordings have none.
    return {**record, **({"digest": history.digest} if history.digest else {})}, result


def _scenario_record(entry: Mapping[str, Any], result: ScenarioResult | None, *, trouble: str) -> dict[str, Any]:
    """One scenario as ``results.json`` lists it, but for the digest of its recording.

    Arguments:
        entry: what ``run.json`` says of it.
        trouble: why there is no result, or none to rely on, where ``run.json`` gives no reason.
    """
    id = str(entry["id"])
    reason = str(entry.get("reason") or trouble)
    if result is None:
        title, cases = _declared(entry)
        listed = [_unjudged(case, claim, f"{NOT_RUN}: {reason}") for case, claim in cases.items()]
        return {
            "id": id,
            "title": title,
            "verdict": str(Verdict.INCONCLUSIVE),
            "reason": f"0 of {len(listed)} cases run: {reason}",
            "seconds": 0.0,
            "cases": listed,
        }
    record = result.as_record(numbers=True)
    if reason:
        left_out = {case.id for case in result.cases if not case.was_run}
        for case in record["cases"]:
            if case["id"] in left_out:
                case["reason"] = f"{NOT_RUN}: {reason}"
        record["verdict"] = str(Verdict.worst([result.verdict, Verdict.INCONCLUSIVE]))
        record["reason"] = "; ".join(filter(None, [result.undone, reason]))
    return {**record, "seconds": result.seconds, "circumstances": result.circumstances.as_record()}


def case_heading(case: Mapping[str, Any]) -> str:
    """A case of ``results.json`` in a few words: what was violated, else what it claims."""
    return heading(str(case["title"]), ((one["kind"], one["severity"]) for one in case["findings"]))


def _unlisted(run: Path, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Recordings of which ``run.json`` does not know, as it would list them."""
    listed = {str(entry["id"]) for entry in plan["scenarios"]}
    names = {path.name.partition(".jsonl")[0] for path in (run / "history").glob("*.jsonl*")}
    for id in sorted(names - listed):
        if find_history(run, id) is not None:
            yield {"id": id, "notebook": "", "status": "unknown", "reason": f"{PLAN} does not list it"}


def _differences(run: Path, plan: Mapping[str, Any], entry: Mapping[str, Any], result: ScenarioResult) -> list[str]:
    """What its recording says otherwise than ``run.json`` and the executed notebook of a scenario do."""
    told = []
    if result.id != entry["id"]:
        told.append(f"it is one of {result.id}")
    if "replay" not in ((plan.get("parameters") or {}).get("target") or {}):
        if result.environment != plan["environment"]:
            told.append(f"it was made in the environment {result.environment}, not {plan['environment']}")
        if result.seed != plan["seed"]:
            told.append(f"its seed is {result.seed}, not {plan['seed']}")
    declared = declared_cases(run / "notebooks" / str(entry["notebook"])) if entry["notebook"] else {}
    for case in result.cases:
        if (wanted := declared.get(case.id)) is None:
            continue
        judged_by = {judgement.checker for judgement in case.judgements}
        if not judged_by and case.verdict is Verdict.NOT_APPLICABLE and not wanted.needs:
            told.append(f"{case.id} was skipped, and its notebook skips it nowhere")
        elif judged_by and (missing := wanted.checkers - judged_by):
            told.append(f"{case.id} was judged without {', '.join(sorted(missing))}, and its notebook asks for it")
    return told


def _distrusted(record: dict[str, Any], reason: str) -> dict[str, Any]:
    """A scenario of whose recording something is not right: what is seen to fail does; all else is inconclusive."""
    cases = [
        case if case["verdict"] == Verdict.FAIL else {**case, "verdict": str(Verdict.INCONCLUSIVE), "reason": reason}
        for case in record["cases"]
    ]
    verdict = Verdict.worst([Verdict.INCONCLUSIVE, *(Verdict(case["verdict"]) for case in cases)])
    return {**record, "verdict": str(verdict), "cases": cases}


def _declared(entry: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Title and cases of a scenario, from ``run.json``: the notebooks may be others where a run is judged again.

    An older run does not say them; the notebooks beside us may.
    """
    id = str(entry["id"])
    if isinstance(entry.get("title"), str) and isinstance(entry.get("cases"), dict):
        return entry["title"], {str(case): str(title) for case, title in entry["cases"].items()}
    known = SCENARIOS.get(id)
    return (known.title, known.cases) if known else (id, {id: id})


def _unjudged(case: str, claim: str, reason: str) -> dict[str, Any]:
    return {
        "id": case,
        "title": claim,
        "verdict": str(Verdict.INCONCLUSIVE),
        "run": False,
        "reason": reason,
        "requirements": [scenario_of(case), case],
        "findings": [],
    }
