"""How a scenario stands, in a word and a line, the same wherever it is shown; and the banner that begins with it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import CaseResult, Verdict, issues
from netra_probe.display.controls import folded, visible
from netra_probe.display.tables import Table, badge

#: The word for a scenario that is not over, and of which nothing bad is known.
RUNNING = "RUNNING"


def standing(result: ScenarioResult, *, running: bool = False) -> tuple[str, str, Verdict]:
    """A word, a line, and the verdict whose colour both have.

    A scenario that is running is nothing yet, unless something was found or a cell raised.

    >>> standing(result, running=True)   # doctest: +SKIP
    ('RUNNING', '2 of 5 · no leak so far', <Verdict.NOT_APPLICABLE: 'not applicable'>)
    """
    total, run = len(result.cases), sum(case.was_run for case in result.cases)
    failed = [case for case in result.cases if case.verdict is Verdict.FAIL]
    if running and not result.raised:
        if failed:
            return "FAIL", f"{run} of {total} cases run · {_reasons(failed)}", Verdict.FAIL
        open_ones = [case for case in result.cases if case.was_run and case.verdict is Verdict.INCONCLUSIVE]
        beside = f" · not decided: {', '.join(case.id for case in open_ones)}" if open_ones else ""
        return RUNNING, f"{run} of {total} · no leak so far{beside}", Verdict.NOT_APPLICABLE
    verdict = result.verdict
    told = []
    if failed:
        told.append(_reasons(failed))
    if undone := result.undone:
        told.append(undone)
    elif not failed:
        told.append(_counts(result))
    hygiene_issues = sum(not finding.is_isolation_failure for case in result.cases for finding in case.findings)
    told += [issues(hygiene_issues)] * bool(hygiene_issues)
    if not result.truncated:
        told.append(f"clean-up: {result.cleanup.verdict}")
    return str(verdict).upper(), " · ".join(told), verdict


def _reasons(cases: list[CaseResult]) -> str:
    more = f" (and {len(cases) - 1} more failed case{'s' * (len(cases) > 2)})" if len(cases) > 1 else ""
    return f"{cases[0].id}: {cases[0].reason}{more}"


def _counts(result: ScenarioResult) -> str:
    passed = sum(case.verdict is Verdict.PASS for case in result.cases)
    told = f"{passed} of {len(result.cases)} cases pass"
    open_one = next((case for case in result.cases if case.verdict is Verdict.INCONCLUSIVE), None)
    if open_one is not None:
        return f"{told} · {open_one.id}: {open_one.reason}"
    beside = sum(case.verdict is Verdict.NOT_APPLICABLE for case in result.cases)
    if not passed:
        return f"nothing was decided: none of {len(result.cases)} cases applies here"
    return f"{told} · no leak" + (f" · {beside} not applicable" if beside else "")


class Banner:
    """Shown once by ``investigate`` and updated in place by each check; outside a notebook it stays silent.

    The opening cell is tagged ``nbval-ignore-output``: what it shows changes while the notebook runs.
    """

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None
        self._cast = ""

    @property
    def is_shown(self) -> bool:
        return self._handle is not None

    def show(self, result: ScenarioResult, users: Sequence[str]) -> None:
        self._cast = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        if get_ipython() is not None:
            self._handle = display(self._bundle(result, running=True), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, result: ScenarioResult, *, running: bool) -> None:
        if self._handle is not None:
            self._handle.update(self._bundle(result, running=running), raw=True)  # type: ignore[no-untyped-call]

    def _bundle(self, result: ScenarioResult, *, running: bool) -> dict[str, Any]:
        texts = self._texts(result, running=running)
        return {"text/plain": folded(visible(texts["text/plain"])), "text/html": visible(texts["text/html"])}

    def _texts(self, result: ScenarioResult, *, running: bool) -> dict[str, str]:
        word, told, verdict = standing(result, running=running)
        place = " ".join(filter(None, ["on", result.environment, result.circumstances.with_faults]))
        line = f"{told} — {result.id} {result.title} {place}, with {self._cast}"
        areas = area_table(result)
        return {
            "text/plain": f"{word} {line}" + (f"\n{areas.text()}" if areas else ""),
            "text/html": f'<p style="font-size:15px">{badge(verdict, word)}&nbsp; {html.escape(line)}</p>'
            + (areas.html() if areas else ""),
        }


def area_table(result: ScenarioResult) -> Table | None:
    """Area → verdicts of its cases, for a scenario whose cases are grouped by area; else ``None``."""
    scenario = SCENARIOS.get(result.id)
    if scenario is None or not scenario.areas:
        return None
    by_case = {case.id: case for case in result.cases}
    rows, marks = [], {}
    for number, (letter, title) in enumerate(scenario.areas.items()):
        cells = [letter, title]
        for column in (1, 2):
            case = by_case.get(f"{result.id}{letter}.{column}")
            if case is not None and case.was_run:
                marks[number, column + 1] = case.verdict
            cells.append(str(case.verdict) if case is not None and case.was_run else "–")
        rows.append(cells)
    return Table(
        caption="Areas: .1 what it promises, .2 its failure is contained and visible",
        headings=("area", "", ".1", ".2"),
        rows=rows,
        marks=marks,
    )
