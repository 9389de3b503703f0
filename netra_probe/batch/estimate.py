"""How long a run will take, from how long earlier ones took."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from netra_probe.batch.plan import Plan
from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.results.results import PLAN

#: Earlier runs that are looked at: the latest.
LATEST = 20


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What to expect of the notebooks of a run.

    Arguments:
        seconds: id → what it will take; those that were never run take as long for a case as the others do.
        jobs: notebooks at a time.
        known: ids of those that earlier runs speak for.
    """

    seconds: Mapping[str, float]
    jobs: int
    known: frozenset[str] = field(default_factory=frozenset)

    @staticmethod
    def of(plan: Plan) -> Estimate:
        """From the latest runs of the same environment with the same faults, users and rounds."""
        taken = _taken(plan)
        usual = median(seconds / _cases(id) for id, seconds in taken.items()) if taken else 0.0
        return Estimate(
            seconds={one.id: taken.get(one.id, usual * _cases(one.id)) for one in plan.notebooks},
            jobs=plan.jobs,
            known=frozenset(taken),
        )

    @property
    def total(self) -> float:
        """Seconds from the first start to the last end; 0 where nothing is known."""
        return self.left({}, self.seconds)

    def left(self, running: Mapping[str, float], waiting: Iterable[str]) -> float:
        """Seconds until the last end, with those ``running`` for so many seconds, and those ``waiting``."""
        begun = [max(0.0, self.seconds[id] - elapsed) for id, elapsed in running.items()]
        return packed(begun, (self.seconds[id] for id in self.order(waiting)), jobs=self.jobs)

    def order(self, ids: Iterable[str]) -> list[str]:
        """Longest first, so that all jobs end at about the same time; as they come where nothing tells them apart."""
        return sorted(ids, key=lambda id: (-self.seconds[id], -_cases(id)))


def packed(begun: Iterable[float], waiting: Iterable[float], *, jobs: int) -> float:
    """When the last one ends: each of those waiting, in their sequence, goes to whoever is free first.

    >>> packed([3.0], [4.0, 2.0, 2.0], jobs=2)
    7.0
    """
    ends = list(begun)
    ends += [0.0] * (max(1, jobs) - len(ends))
    heapq.heapify(ends)
    for seconds in waiting:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _cases(id: str) -> int:
    """How many cases a scenario has, as far as that is known."""
    return len(SCENARIOS[id].cases) if id in SCENARIOS else 1


def _taken(plan: Plan) -> dict[str, float]:
    """Scenario id → the median of seconds that its notebook has taken."""
    found: dict[str, list[float]] = {}
    runs = sorted((folder("outputs") / plan.parameters.environment).glob(f"*/{PLAN}"), reverse=True)
    for path in runs[:LATEST]:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            alike = all(record["parameters"][name] == getattr(plan.parameters, name) for name in ("users", "rounds"))
            if alike and record["faults"] == list(plan.faults):
                for entry in record["scenarios"]:
                    if entry["status"] == "completed" and entry["seconds"] > 0:
                        found.setdefault(str(entry["id"]), []).append(float(entry["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # an estimate is not worth an error
    return {id: median(times) for id, times in found.items() if id in {one.id for one in plan.notebooks}}
