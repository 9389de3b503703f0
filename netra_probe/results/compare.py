"""What differs between two sets of verdicts, case by case; and how runs went, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from netra_probe.checkers.verdict import Verdict, checker_name
from netra_probe.results.results import case_heading
from netra_probe.results.runs import Case, Run, cases_of, runs_in

DECIDED = (Verdict.PASS, Verdict.FAIL)


class Kind(StrEnum):
    """How a case has changed."""

    NEW_FAILURE = "new failure"
    MORE = "more findings"
    OTHER = "other findings"
    UNDECIDED = "no longer decided"
    RECOVERED = "recovered"
    FEWER = "fewer findings"
    DECIDED = "decided now"
    NUMBERS = "other evidence"
    ADDED = "only here"
    GONE = "not here"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One case that differs.

    Arguments:
        before, after: verdicts; None where the case was not run.
        added, gone: findings that only one of the two has, each as ``canary · foreign canary (websocket)``.
        reasons: what each rests on, in words.
        since: the run that ``before`` is taken from.
    """

    case: str
    title: str
    kind: Kind
    before: Verdict | None = None
    after: Verdict | None = None
    added: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    reasons: tuple[str, str] = ("", "")
    since: str = ""

    @property
    def is_worse(self) -> bool:
        fails_for_the_first_time = self.kind is Kind.ADDED and self.after is Verdict.FAIL
        return fails_for_the_first_time or self.kind in (Kind.NEW_FAILURE, Kind.MORE, Kind.OTHER, Kind.UNDECIDED)


def compare(before: Mapping[str, Case], after: Mapping[str, Case]) -> list[Change]:
    """All cases that differ, in order of ``after`` and then what only ``before`` has."""
    changes = []
    for id in (*after, *(id for id in before if id not in after)):
        change = _compared(id, before.get(id), after.get(id))
        if change is not None:
            changes.append(change)
    return changes


def since_last_decided(run: Run, earlier: Iterable[Run]) -> list[Change]:
    """What is new in a run: each case against the last of the earlier runs that decided it.

    A case that fails and was never decided before is a new failure; nothing else is said of cases without a past.
    """
    cases = cases_of(run.results)
    before: dict[str, Case] = {}
    origin: dict[str, str] = {}
    for other in earlier:  # newest first
        for id, case in cases_of(other.results).items():
            if id in cases and id not in before and case["verdict"] in DECIDED:
                before[id], origin[id] = case, other.name
        if len(before) == len(cases):
            break
    changes = []
    for id, case in cases.items():
        change = _compared(id, before.get(id), case)
        if change is None or change.kind is Kind.NUMBERS:
            continue
        if change.kind is Kind.ADDED:
            if change.after is not Verdict.FAIL:
                continue
            change = _made(Kind.NEW_FAILURE, id, None, case)
        changes.append(Change(**{**vars(change), "since": origin.get(id, "")}))
    return changes


def _compared(id: str, old: Case | None, new: Case | None) -> Change | None:
    if old is None or new is None:
        return _made(Kind.ADDED if old is None else Kind.GONE, id, old, new)
    before, after = Verdict(old["verdict"]), Verdict(new["verdict"])
    gone, added = _differing(old, new)
    if before is not after:
        if after is Verdict.FAIL:
            kind = Kind.NEW_FAILURE
        elif before is Verdict.FAIL and after is Verdict.PASS:
            kind = Kind.RECOVERED
        elif after in DECIDED:
            kind = Kind.DECIDED
        else:
            kind = Kind.UNDECIDED if before in DECIDED else Kind.NUMBERS
    elif serious(added) and serious(gone):
        kind = Kind.OTHER
    elif serious(added):
        kind = Kind.MORE
    elif serious(gone):
        kind = Kind.FEWER
    elif old["reason"] != new["reason"] or added or gone:
        kind = Kind.NUMBERS
    else:
        return None
    return _made(kind, id, old, new)


def _made(kind: Kind, id: str, old: Case | None, new: Case | None) -> Change:
    gone, added = _differing(old, new)
    return Change(
        case=id,
        title=case_heading(new or old or {"title": "", "findings": ()}),
        kind=kind,
        before=Verdict(old["verdict"]) if old else None,
        after=Verdict(new["verdict"]) if new else None,
        added=tuple(sorted(added)),
        gone=tuple(sorted(gone)),
        reasons=(str(old["reason"]) if old else "", str(new["reason"]) if new else ""),
    )


#: What marks findings of hygiene in these texts: they turn no verdict.
HYGIENE = "hygiene "


#: Checkers of what was tried: the operations that they name are the same in every run, so a further one is news. Which
#: frames a race corrupts is not.
TRIED = frozenset(("C5", "C6", "C7", "H1"))


def _differing(old: Case | None, new: Case | None) -> tuple[set[str], set[str]]:
    """What only the old one has, and what only the new one has; by operation where both list them."""
    both = [*(old or {"findings": []})["findings"], *(new or {"findings": []})["findings"]]
    listed = bool(old and new) and all("operations" in finding for finding in both)
    before, after = (findings(case, by_operation=listed) if case else set() for case in (old, new))
    return before - after, after - before


def findings(case: Case, *, by_operation: bool = False) -> set[str]:
    """What was found in a case, without who and how often, which differ from run to run."""
    return {
        f"{finding_name(finding)}{where}"
        for finding in case["findings"]
        for where in (
            {f": {place['operation']}" for place in finding["operations"]}
            if by_operation and finding["checker"] in TRIED
            else {""}
        )
    }


def finding_name(finding: Mapping[str, Any]) -> str:
    """What was found, in a few words that are the same in every run that finds it."""
    beside = HYGIENE if finding["severity"] == "hygiene" else ""
    where = f" ({finding['surface']})" if finding["surface"] else ""
    return f"{beside}{checker_name(finding['checker'])} · {finding['kind']}{where}"


def serious(told: Iterable[str]) -> list[str]:
    """Those that are more than hygiene issues."""
    return [one for one in told if not one.startswith(HYGIENE)]


def all_runs(outputs: Path, unreadable: list[str] | None = None) -> dict[str, list[Run]]:
    """Environment → its runs, oldest first; ``unreadable`` gets a sentence on each that cannot be read."""
    found: dict[str, list[Run]] = {}
    folders = sorted(path for path in outputs.iterdir() if path.is_dir()) if outputs.is_dir() else []
    for folder in folders:
        for run in runs_in(folder, unreadable):
            found.setdefault(run.environment, []).append(run)
    return {name: sorted(found[name], key=lambda run: run.order) for name in sorted(found)}


def last_verdicts(outputs: Path) -> dict[str, dict[str, str]]:
    """Scenario id → environment → verdict of the latest run that holds results; damaged ones are passed over."""
    latest: dict[str, dict[str, str]] = {}
    for environment, runs in all_runs(outputs).items():
        for run in runs:
            for scenario in run.results["scenarios"] if run.has_results else ():
                latest.setdefault(scenario["id"], {})[environment] = scenario["verdict"]
    return latest
