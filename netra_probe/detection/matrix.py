"""What a detection run says: reached, triggered, detected by which checker, and how sure one may be of the rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any

from netra_probe.catalogue.scenarios import scenario_of
from netra_probe.checkers.severity import ISOLATION

SCHEMA = 1
HEALTHY = "healthy"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A finding of one trial, as far as detection is concerned."""

    case: str
    checker: str
    seconds: float
    disturbed: bool
    people: frozenset[str]
    severity: str = ISOLATION


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One lab, with one fault or none, and the scenarios run on it.

    Arguments:
        fault: its id, or ``healthy``; ``variant`` names the kind of healthy lab.
        reached, triggered: the fault's own counters, summed over processes.
        seen: what was found, in order of time.
        groups: attribution of the first red case: groups of fault ids, likeliest first.
        inconclusive: cases without a verdict.
        disturbances: how often something was done to a healthy lab from outside, or in it, that is nobody's fault.
        trouble: why the trial could not be finished, or "".
    """

    fault: str
    variant: str = "plain"
    number: int = 1
    reached: int = 0
    triggered: int = 0
    seen: tuple[Seen, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    inconclusive: tuple[str, ...] = ()
    disturbances: int = 0
    trouble: str = ""
    seconds: float = 0.0

    @property
    def detected(self) -> bool:
        return bool(self.seen)

    @property
    def rank(self) -> int | None:
        """Position of the group that names the fault, from 1; ``None`` when none does."""
        for position, group in enumerate(self.groups, start=1):
            if self.fault in group:
                return position
        return None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All trials of a detection run."""

    trials: tuple[Trial, ...]
    checkers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, fault: str) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.fault == fault)

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.fault for trial in self.trials if trial.fault != HEALTHY))

    def as_record(self) -> dict[str, Any]:
        """``detection.json``."""
        healthy = [trial for trial in self.trials if trial.fault == HEALTHY]
        finished = [trial for trial in healthy if trial.detected or not trial.trouble]
        variants = dict.fromkeys(trial.variant for trial in healthy)
        detected = sum(self._is_detected(fault) for fault in self.faults)
        false = sum(trial.detected for trial in healthy)
        return {
            "schema": SCHEMA,
            "faults": [self._fault(fault) for fault in self.faults],
            "healthy": [
                {
                    "variant": variant,
                    "runs": sum(trial.variant == variant for trial in finished),
                    "findings": sum(len(trial.seen) for trial in healthy if trial.variant == variant),
                    "disturbances": sum(trial.disturbances for trial in healthy if trial.variant == variant),
                    "trouble": next((one.trouble for one in healthy if one.variant == variant and one.trouble), ""),
                }
                for variant in variants
            ],
            "false_findings": sum(len(trial.seen) for trial in healthy),
            "detection_rate": rate(detected, len(self.faults)),
            "false_finding_rate": rate(false, len(finished)),
            "top_group": rate(sum(self._first(fault).rank == 1 for fault in self.faults), len(self.faults)),
            "by_case": {case: sorted(faults) for case, faults in sorted(self.by_case().items())},
            "by_checker": {checker: sorted(faults) for checker, faults in sorted(self.by_checker().items())},
            "lost": {
                "without canaries": self._lost(lambda seen: seen.checker in ("C1", "C12")),
                "without disturbances": self._lost(lambda seen: seen.disturbed),
                "with one user": self._lost(lambda seen: len(seen.people) > 1),
            },
        }

    def by_case(self) -> dict[str, set[str]]:
        """Case → faults that turned it red."""
        return self._by(lambda seen: seen.case if seen.severity == ISOLATION else "")

    def by_checker(self) -> dict[str, set[str]]:
        """Checker → faults that it found."""
        return self._by(lambda seen: seen.checker)

    def _by(self, key: Callable[[Seen], str]) -> dict[str, set[str]]:
        table: dict[str, set[str]] = {}
        for trial in self.trials:
            for seen in trial.seen:
                if trial.fault != HEALTHY and (name := key(seen)):
                    table.setdefault(name, set()).add(trial.fault)
        return table

    def _first(self, fault: str) -> Trial:
        """The first trial that detected the fault, else the first one."""
        trials = self.of(fault)
        return next((trial for trial in trials if trial.detected), trials[0])

    def _is_detected(self, fault: str) -> bool:
        return any(trial.detected for trial in self.of(fault))

    def _lost(self, needs: Callable[[Seen], bool]) -> list[str]:
        """Faults that every finding needs something for, and that would be missed without it."""
        return [
            fault
            for fault in self.faults
            if self._is_detected(fault) and all(needs(seen) for trial in self.of(fault) for seen in trial.seen)
        ]

    def _fault(self, fault: str) -> dict[str, Any]:
        trials, first = self.of(fault), self._first(fault)
        found = first.seen[0] if first.seen else None
        by_checker = Counter(seen.checker for trial in trials for seen in trial.seen)
        return {
            "id": fault,
            "reached": sum(trial.reached for trial in trials),
            "triggered": sum(trial.triggered for trial in trials),
            "detected": self._is_detected(fault),
            "checkers": sorted(by_checker, key=lambda checker: int(checker[1:])),
            "scenario": scenario_of(found.case) if found else None,
            "case": found.case if found else None,
            "seconds": round(found.seconds, 2) if found else None,
            "repeats": len(trials),
            "hits": sum(trial.detected for trial in trials),
            "attribution": [list(group) for group in first.groups],
            "rank": first.rank,
            "inconclusive": sorted({case for trial in trials for case in trial.inconclusive}),
            "trouble": next((trial.trouble for trial in trials if trial.trouble), ""),
        }


def rate(hits: int, trials: int) -> dict[str, Any]:
    """A proportion with its exact two-sided 95 % interval (Clopper and Pearson, Biometrika 26:404, 1934)."""
    if not trials:
        return {"hits": 0, "of": 0, "low": 0.0, "high": 1.0}
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _cumulative(hits - 1, trials, p) - 0.025)
    high = 1.0 if hits == trials else _root(lambda p: 0.025 - _cumulative(hits, trials, p))
    return {"hits": hits, "of": trials, "low": round(low, 4), "high": round(high, 4)}


def _cumulative(most: int, trials: int, p: float) -> float:
    """P(X ≤ most) of the binomial distribution."""
    return float(sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(most + 1)))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function on [0, 1] crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def rows(record: dict[str, Any]) -> Iterable[Sequence[str]]:
    """The matrix as rows of text: fault, reached, triggered, detected, by, where, when, k of n, attribution."""
    for fault in record["faults"]:
        groups = " > ".join(" or ".join(group) for group in fault["attribution"][:3])
        yield (
            fault["id"],
            str(fault["reached"]),
            str(fault["triggered"]),
            " ".join(filter(None, ("yes" if fault["detected"] else "NO", fault["trouble"]))),
            " ".join(fault["checkers"]),
            fault["case"] or "",
            "" if fault["seconds"] is None else f"{fault['seconds']:.1f} s",
            f"{fault['hits']} of {fault['repeats']}",
            f"{fault['rank'] or '–'}: {groups}" if groups else "",
        )
