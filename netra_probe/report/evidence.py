"""What the red cases of a run rest on: who leaked to whom, what it looks like, and what the target said of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from netra_probe.checkers.judging import ScenarioResult, judge_history, versions_said
from netra_probe.checkers.verdict import Verdict
from netra_probe.display.evidence import MOST_USERS, LeakMatrix
from netra_probe.display.views import CaseView, ScenarioView
from netra_probe.history import actions
from netra_probe.history.operation import Operation
from netra_probe.history.store import History, HistoryError
from netra_probe.results.results import find_history

#: Operations from the beginning of a history among which a target says what it is.
_INTRODUCTION = 200


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Who saw whose secrets: ``rows`` of owner and counts, one per recipient; anything off the diagonal is a leak."""

    users: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    leaks: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the history adds to a red case: its leak matrix, and what is probably behind it.

    Arguments:
        causes: of this case, as sentences; ``together`` those of all red cases of its scenario.
        conversation: the witness of its first finding as HTML, with a sequence diagram.
    """

    matrix: Matrix | None = None
    causes: tuple[str, ...] = ()
    conversation: str = ""
    echo: bool = False
    together: tuple[str, ...] = ()


def evidence_of(run: Path, scenario: Mapping[str, Any], judged: ScenarioResult | None = None) -> dict[str, Evidence]:
    """Evidence on the red cases of a scenario, by case; nothing where its history is gone or damaged.

    Arguments:
        judged: the scenario as it was just judged; left out, it is judged again if there is anything red.
    """
    red = {case["id"] for case in scenario["cases"] if case["verdict"] == Verdict.FAIL}
    try:
        history = find_history(run, scenario["id"])
        if not red or history is None:
            return {}
        judged = judged or judge_history(history)
        cases = {case.id: case for case in judged.cases}
        windows = {
            operation.detail["case"]: (int(operation.detail.get("start", 0)), operation.index)
            for operation in history
            if operation.action == actions.CHECK
        }
    except (HistoryError, OSError, KeyError, ValueError):
        return {}
    found = {}
    together = tuple(ScenarioView(judged).causes())
    for id in red & windows.keys() & cases.keys():
        view = CaseView(cases[id], history)
        found[id] = Evidence(
            matrix=_matrix(history, *windows[id]),
            causes=tuple(view.causes()),
            conversation=view.conversation(),
            echo=cases[id].echo,
            together=together,
        )
    return found


def _matrix(history: History, start: int, end: int) -> Matrix | None:
    matrix = LeakMatrix.of(islice(history, end), start=start)
    if not matrix.leaks:
        return None
    loud = {name for pair, count in matrix.counts.items() if count and pair[0] != pair[1] for name in pair}
    few = len(matrix.users) <= MOST_USERS
    users = tuple([name for name in matrix.users if few or name in loud][:MOST_USERS])
    rows = tuple((owner, tuple(matrix.counts[owner, recipient] for recipient in users)) for owner in users)
    return Matrix(users=users, rows=rows, leaks=matrix.leaks)


def versions_of_target(run: Path, scenario: str) -> dict[str, str]:
    """What the services have said of themselves in a scenario's history: title or name → version."""
    return versions_said(introduction(run, scenario))


def introduction(run: Path, scenario: str) -> Iterator[Operation]:
    """The first operations of a scenario's history; as many as there are where it is missing or damaged."""
    try:
        history = find_history(run, scenario)
        if history is not None:
            yield from islice(history, _INTRODUCTION)
    except (HistoryError, OSError):
        return
