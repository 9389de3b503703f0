"""What a component promises was seen to hold, promise by promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import plain
from netra_probe.checkers.principals import witness
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.operation import Operation, Outcome

#: What an expectation is about that a deployment may do otherwise.
NOTED = "noted"
#: Characters of a value that a summary shows.
LONGEST_VALUE = 120


class PromiseChecker(Checker):
    """Each expectation that the investigator wrote down is what was observed.

    >>> def seen(observed):
    ...     return Operation(index=0, time=0, type="ok", action="expect", surface="component",
    ...                      detail={"promise": "set beats the file", "expected": "a", "observed": observed})
    >>> PromiseChecker()([seen("b")]).findings[0].summary
    'set beats the file: observed "b" instead of "a"'

    Arguments:
        boundary: a failure is to be contained and visible: at least one expectation says what still works for others
            (``about="contained"``), and one what an operator can see (``about="visible"``).

    What is only to be noted where it differs (``about="noted"``) is a hygiene issue and turns nothing red.
    """

    id = "C14"
    guarantee = "What the component promises was observed, for every promise that was put to the test."
    source = (
        "design by contract (B. Meyer, IEEE Computer 25(10):40, 1992); The Twelve-Factor App III (configuration) and "
        "netra-wire §10 (the components' public calls)"
    )
    complexity = "time O(n), memory O(promises)"
    inconclusive_when = (
        "nothing was expected, something could not be observed, or a failure boundary says nothing of what still works "
        "or of what is visible"
    )

    def __init__(self, *, boundary: bool = False) -> None:
        self.boundary = boundary

    @property
    def options(self) -> Mapping[str, Any]:
        return {"boundary": True} if self.boundary else {}

    def begin(self, window: Window) -> CheckerRun:
        return _PromisePass(window.start, self.boundary)


class _PromisePass(CheckerRun):
    def __init__(self, start: int, boundary: bool) -> None:
        self._start = start
        self._boundary = boundary
        self._carried: int | None = None
        self._about: set[str] = set()
        self._findings: list[Finding] = []
        self._doubts: dict[str, None] = {}
        self._promises = 0

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        return action in (actions.EXPECT, actions.PROCESS)

    def feed(self, operation: Operation) -> None:
        if operation.index < self._start:
            return
        if operation.action == actions.PROCESS:
            self._carried = operation.index if operation.type != "invoke" else self._carried
            return
        detail = operation.detail
        promise = str(detail.get("promise", "a promise"))
        self._promises += 1
        self._about.add(str(detail.get("about", "")))
        if "undecided" in detail:
            self._doubts[f"{promise}: {detail['undecided']}"] = None
        elif detail.get("observed") != detail.get("expected"):
            self._findings.append(_finding(promise, operation, self._carried))

    def finish(self) -> Judgement:
        doubts = list(self._doubts)
        if not self._promises:
            doubts.append("nothing was expected of the component")
        elif self._boundary:
            for about, missing in (("contained", "what still works for others"), ("visible", "what an operator sees")):
                if about not in self._about:
                    doubts.append(f"nothing was expected of {missing}")
        return Judgement(
            checker=PromiseChecker.id,
            findings=tuple(self._findings),
            doubts=tuple(doubts),
            evidence={"promises": self._promises},
        )


def _finding(promise: str, operation: Operation, carried: int | None) -> Finding:
    observed, expected = (shown_value(operation.detail.get(name)) for name in ("observed", "expected"))
    return Finding(
        checker=PromiseChecker.id,
        kind="differs from the contract" if operation.detail.get("about") == NOTED else "promise broken",
        summary=f"{promise}: observed {observed} instead of {expected}",
        surface=operation.surface,
        operations=(Place(operation=plain(promise), pairs=(Pair(count=1, example=operation.index),)),),
        witness=witness(carried, operation.index),
        explanation=f"Let p be: {promise}. It holds with {expected} only; observed was {observed}: a contradiction.",
    )


def shown_value(value: object) -> str:
    """A value as JSON, cut to what a reader takes in.

    >>> shown_value({"a": None})
    '{"a":null}'
    """
    text = msgspec.json.encode(value, order="sorted").decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
