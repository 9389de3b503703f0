"""What the target holds on to does not grow with the number of cycles that were begun and ended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.principals import witness
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.operation import Operation, Outcome

#: Growth shows in the differences of three points; with fewer a slope is a guess.
LEAST_CYCLES = 3
#: Cycles that enter the quadratic estimate; of more, evenly spread ones do.
MOST_CYCLES = 400


class ResourceChecker(Checker):
    """After every cycle of connecting and leaving, sockets, pools, clients and tasks are back where they were.

    The slope is Theil and Sen's (the median of the slopes between all pairs of cycles), which a single odd reading does
    not move; a gauge that fills up and then stays, such as a pool that warms up, is no leak.

    >>> def gauge(index, value):
    ...     return Operation(index=index, time=index, type="ok", action="gauge", surface="database",
    ...                      detail={"name": "connections", "value": value, "cycle": index})
    >>> ResourceChecker()([gauge(cycle, 5 + 2 * cycle) for cycle in range(4)]).findings[0].summary
    'connections grew by 2 in each of 4 cycles: 5 → 11'

    Arguments:
        tolerance: growth per cycle that is put down to noise.
    """

    id = "C10"
    guarantee = "No measured resource grows with the number of cycles."
    source = (
        "H. Theil 1950 and P. K. Sen, J. Am. Stat. Assoc. 63:1379, 1968 (the estimate); CWE-772 missing release of "
        "resource after effective lifetime; OWASP API4:2023 unrestricted resource consumption"
    )
    complexity = f"time O(n + gauges × min(cycles, {MOST_CYCLES})²), memory O(gauges × cycles)"
    inconclusive_when = f"there was no gauge, or one was read in fewer than {LEAST_CYCLES} cycles"

    def __init__(self, *, tolerance: float = 0.5) -> None:
        self.tolerance = tolerance

    @property
    def options(self) -> Mapping[str, Any]:
        return {} if self.tolerance == 0.5 else {"tolerance": self.tolerance}

    def begin(self, window: Window) -> CheckerRun:
        return _ResourcePass(window.start, self.tolerance)


class _ResourcePass(CheckerRun):
    def __init__(self, start: int, tolerance: float) -> None:
        self._start = start
        self._tolerance = tolerance
        #: (surface, backend, name) → cycle → (value, index) of the last reading in that cycle.
        self._gauges: dict[tuple[str, str, str], dict[float, tuple[float, int]]] = {}
        self._unreadable = 0

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        return action == actions.GAUGE and type == "ok"

    def feed(self, operation: Operation) -> None:
        if operation.index < self._start:
            return
        detail = operation.detail
        value, cycle = _number(detail.get("value")), _number(detail.get("cycle"))
        if value is None or cycle is None:
            self._unreadable += 1
            return
        name = (operation.surface, operation.backend or "", str(detail.get("name", "a gauge")))
        self._gauges.setdefault(name, {})[cycle] = (value, operation.index)

    def finish(self) -> Judgement:
        findings = []
        doubts = [] if self._gauges else ["nothing was measured: no gauge was read"]
        if self._unreadable:
            doubts.append(f"{self._unreadable} readings were no numbers")
        cycles = 0
        for (surface, backend, name), readings in sorted(self._gauges.items()):
            shown = f"{name} of {backend}" if backend else name
            cycles = max(cycles, len(readings))
            if len(readings) < LEAST_CYCLES:
                doubts.append(f"{shown}: read in {len(readings)} of at least {LEAST_CYCLES} cycles")
                continue
            points = [(cycle, *readings[cycle]) for cycle in sorted(readings)]
            slope = growth([(cycle, value) for cycle, value, _ in points], self._tolerance)
            if slope is not None:
                findings.append(_finding(shown, surface, points, slope))
        return Judgement(
            checker=ResourceChecker.id,
            findings=tuple(findings),
            doubts=tuple(doubts),
            evidence={"gauges": len(self._gauges), "cycles": cycles},
        )


def _finding(name: str, surface: str, points: Sequence[tuple[float, float, int]], slope: float) -> Finding:
    (_, first, _), (_, last, _) = points[0], points[-1]
    indices = [index for _, _, index in points]
    spread = [indices[round(step * (len(indices) - 1) / 5)] for step in range(6)]
    values = ", ".join(f"{value:g}" for _, value, _ in points[:12]) + (", …" if len(points) > 12 else "")
    return Finding(
        checker=ResourceChecker.id,
        kind="resource leak",
        summary=f"{name} grew by {slope:g} in each of {len(points)} cycles: {first:g} → {last:g}",
        surface=surface,
        operations=(Place(operation=name, pairs=(Pair(count=1, example=indices[-1]),)),),
        witness=witness(*spread),
        explanation=(
            f"Let g be {name} after each cycle: {values}. Every cycle ended what it began, so g returns to its first "
            f"value, but it gains {slope:g} a cycle to the end: a contradiction, each cycle leaves something behind."
        ),
    )


def growth(points: Sequence[tuple[float, float]], tolerance: float) -> float | None:
    """The robust slope of a gauge over cycles, if it grows from the beginning to the end; else ``None``.

    >>> growth([(0, 5), (1, 6), (2, 7), (3, 8)], 0.5)
    1.0
    >>> growth([(0, 1), (1, 5), (2, 5), (3, 5)], 0.5) is None
    True
    """
    if len(points) > MOST_CYCLES:
        step = len(points) / MOST_CYCLES
        points = [points[int(number * step)] for number in range(MOST_CYCLES)]
    # A leak is there in every part: the whole, and the later part alone, from which the warming-up is gone.
    later = points[len(points) // 2 - 1 :] if len(points) > LEAST_CYCLES else points[1:]
    slopes = [_theil_sen(points), _theil_sen(later)]
    if min(slopes) <= tolerance:
        return None
    return round(slopes[0], 3)


def _theil_sen(points: Sequence[tuple[float, float]]) -> float:
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
