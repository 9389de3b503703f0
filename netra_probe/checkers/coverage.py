"""Which combinations an exploration has reached, from what is recorded alone; what was not sent or tried, and why.

A step that was taken is in the history with its values (``step``), and everything that was begun for it names it; the
planner has noted beside it what it left out and what is impossible (``plan``). A walk through an interface notes in the
same way what it has not sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, TypeAlias

from netra_probe.history import actions
from netra_probe.history.operation import Operation

Record: TypeAlias = dict[str, Any]

#: What became of a step; of several acts the first in this order counts.
REACHED, REFUSED, UNANSWERED, IMPOSSIBLE, UNDONE = "reached", "refused", "unanswered", "impossible", "not carried out"
_BY_TYPE = {"ok": REACHED, "fail": REFUSED, "info": UNANSWERED}
OUTCOMES = (REACHED, REFUSED, UNANSWERED, IMPOSSIBLE, UNDONE)
#: Who notes what was not sent, where it was no planner.
WALK = "walk"
#: Who notes names that no description lists and that were tried, and which of them were answered.
SEARCH = "search"
#: Fields of a step that are combined with each other.
DIMENSIONS = ("principal", "channel", "place", "spelling", "timing", "connection", "disturbance", "listeners")
#: Nobody lists these, so that nothing is known of them unless they were looked for by name.
NOT_SEARCHED = ("routes that no description lists", "sockets at paths that no description lists")


class Steps:
    """Takes in a history, operation by operation, and tells what of its plans was covered."""

    def __init__(self) -> None:
        self._plans: list[Mapping[str, Any]] = []
        self._unsent: dict[str, str] = {}
        self._searched: dict[str, bool] = {}
        self._sent = set[str]()
        self._steps: dict[str, Mapping[str, Any]] = {}
        self._why: dict[str, str] = {}
        self._outcomes: dict[str, set[str]] = defaultdict(set)
        #: Whether operations are marked as the step's act; without a mark those of its name are.
        self._marked: set[str] = set()
        self._open: dict[int, tuple[str, bool]] = {}

    def feed(self, operation: Operation) -> None:
        """The next operation of a history."""
        detail = operation.detail
        if operation.call is not None:
            belongs, marked = self._open.pop(operation.call, ("", False))
            if belongs and operation.type in _BY_TYPE and (marked or belongs not in self._marked):
                self._outcomes[belongs].add(_BY_TYPE[operation.type])
        elif operation.action == actions.PLAN:
            self._unsent |= {name: str(why) for name, why in _mapping(detail.get("withheld")).items()}
            if detail.get("by") == SEARCH:
                found = _listed(detail.get("found"))
                self._searched |= {str(name): name in found for name in _listed(detail.get("tried"))}
            elif detail.get("by") != WALK:
                self._plans.append(detail)
        elif operation.action == actions.STEP:
            if isinstance(detail.get("id"), str):
                self._steps[detail["id"]] = detail
                if isinstance(detail.get("impossible"), str):
                    self._why[detail["id"]] = detail["impossible"]
        elif operation.type == "invoke":
            self._sent.add(operation.action)
            if isinstance(step := detail.get("step"), str):
                self._begun(operation, step)

    def _begun(self, operation: Operation, step: str) -> None:
        if "act" in operation.detail:
            if step not in self._marked:
                self._marked.add(step)
                self._outcomes.pop(step, None)
            self._open[operation.index] = step, True
        elif step not in self._marked and operation.action == self._steps.get(step, {}).get("operation"):
            self._open[operation.index] = step, False

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each step, by its id."""
        return {
            id: next((one for one in OUTCOMES if one in self._outcomes[id]), IMPOSSIBLE if id in self._why else UNDONE)
            for id in self._steps
        }

    def record(self) -> Record:
        """The coverage as ``results.json`` holds it; nothing where there was no plan and no walk."""
        plans = self._plans or ([{"not_searched": list(NOT_SEARCHED)}] if self._unsent else [])
        if not plans:
            return {}
        outcomes = self.outcomes
        counts = Counter(outcomes.values())
        left_out = _mapping(plans[-1].get("left_out"))
        reached = [step for id, step in self._steps.items() if outcomes[id] in (REACHED, REFUSED)]
        tried = {str(step.get("operation", "")) for step in reached}
        known = {str(step.get("operation", "")) for step in self._steps.values()} | set(
            _mapping(left_out.get("operations"))
        )
        return {
            "steps": {
                **{outcome: counts[outcome] for outcome in OUTCOMES},
                "left out by budget": _number(left_out.get("steps")),
            },
            "budget": max(_number(plan.get("budget")) for plan in plans),
            "pairs": {
                "covered": len(pairs(reached)),
                "possible": max(_number(plan.get("pairs")) for plan in plans),
            },
            "dimensions": self._dimensions(outcomes, _mapping(left_out.get("values"))),
            "operations": {
                "tried": len(tried),
                "not tried": sorted(known - tried),
                "withheld": {name: why for name, why in sorted(self._unsent.items()) if name not in self._sent | known},
            },
            "impossible": [*map(_reason, _listed(plans[-1].get("impossible"))), *self._could_not()],
            "not searched": [self._but_for(str(what)) for what in _listed(plans[-1].get("not_searched"))],
        }

    def _but_for(self, what: str) -> str:
        """What nobody lists, and how many names of it were tried all the same."""
        if what != NOT_SEARCHED[0] or not self._searched:
            return what
        found = sorted(name for name, answered in self._searched.items() if answered)
        words = sorted({name.rpartition("/")[2] for name in self._searched if not name.endswith("}")})
        told = f"{what}, but for {len(self._searched)} names beside the listed ones ({', '.join(words[:12])})"
        return f"{told}; answered: {', '.join(found[:12])}" if found else told

    def _dimensions(self, outcomes: Mapping[str, str], left_out: Mapping[str, Any]) -> Record:
        """For each value of each dimension what became of its steps."""
        table: Record = {}
        for name in DIMENSIONS:
            by_value: dict[str, Counter[str]] = defaultdict(Counter)
            for id, step in self._steps.items():
                by_value[str(step.get(name, ""))][outcomes[id]] += 1
            for value, number in _mapping(left_out.get(name)).items():
                by_value[value]["left out by budget"] += _number(number)
            table[name] = {value: dict(sorted(by_value[value].items())) for value in sorted(by_value)}
        return table

    def _could_not(self) -> list[Record]:
        """What turned out to be impossible only when it was to be done."""
        outcomes = self.outcomes
        reasons: dict[str, list[str]] = defaultdict(list)
        for id, why in self._why.items():
            if outcomes[id] == IMPOSSIBLE:
                reasons[why].append(str(self._steps[id].get("operation", "")))
        return [
            {"value": "", "why": why, "operations": len(set(names)), "example": sorted(names)[0]}
            for why, names in sorted(reasons.items())
        ]


def coverage(history: Iterable[Operation]) -> Record:
    """The coverage of all plans that a history tells of.

    >>> from netra_probe.history.operation import Operation
    >>> coverage([Operation(index=0, time=0, type="ok", action="open")])
    {}
    """
    steps = Steps()
    for operation in history:
        steps.feed(operation)
    return steps.record()


def pairs(steps: Iterable[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """What steps cover: pairs of values, each operation with each value, and with principal and credential at once."""
    found: set[tuple[str, ...]] = set()
    for step in steps:
        told = [(name, str(step.get(name, ""))) for name in DIMENSIONS]
        operation = str(step.get("operation", ""))
        found |= {(*one, *other) for one, other in combinations(told, 2)}
        found |= {(operation, *one) for one in told}
        found.add((operation, told[0][1], told[1][1]))
    return found


def _reason(entry: Any) -> Record:
    """Why something is impossible, as the planner has noted it."""
    told = _mapping(entry)
    return {
        "value": str(told.get("value", "")),
        "why": str(told.get("why", "")),
        "operations": _number(told.get("operations")),
        "example": str(told.get("example", "")),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
