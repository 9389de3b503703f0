"""The cells of a committed notebook, performed in this process: no kernel, no papermill, the very same code."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from netra_probe import Investigation
from netra_probe.batch.selection import select
from netra_probe.checkers import REGISTRY
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import CaseResult, Verdict


async def perform(
    scenario: str,
    *,
    only: Collection[str] | None = None,
    until: Callable[[CaseResult], bool] = lambda case: False,
    **parameters: Any,
) -> ScenarioResult:
    """Run the notebook of a scenario; its result, with everything removed that it made, on the cases that were run.

    Arguments:
        only: the ids of the cases to perform, with those cells that belong to no case.
        until: true of a case after which no more are wanted.
        parameters: as for papermill.
    """
    (notebook,) = select([scenario])
    names: dict[str, Any] = {"display": lambda *shown: [repr(one) for one in shown]}
    case, enough = "", False
    try:
        for cell in notebook.read().cells:
            if cell.cell_type != "code":
                heading = re.match(rf"## ({scenario}[a-z]?\.\d+) ", cell.source)
                case = heading[1] if heading else ""
            elif not case or (not enough and (only is None or case in only)):
                code = compile(cell.source, f"{scenario} {case}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                running = eval(code, names)
                if inspect.iscoroutine(running):
                    await running
                if "parameters" in cell.metadata.get("tags", []):
                    names |= parameters
                probe = names.get("probe")
                enough = isinstance(probe, Investigation) and any(map(until, probe.result().cases))
    except BaseException:
        if isinstance(probe := names.get("probe"), Investigation):
            with contextlib.suppress(Exception):  # what came first is what matters
                await probe.close()
        raise
    await names["probe"].close()
    result: ScenarioResult = names["probe"].result()
    return replace(result, cases=tuple(case for case in result.cases if case.was_run))


def leaks(result: ScenarioResult) -> list[str]:
    """What was found against isolation, case by case."""
    return [
        f"{case.id}: {finding.checker} {finding.kind}: {finding.summary}"
        for case in result.cases
        for finding in case.findings
        if finding.is_isolation_failure
    ]


def verdicts(result: ScenarioResult) -> dict[str, Verdict]:
    """The verdict on each case."""
    return {case.id: case.verdict for case in result.cases}


def broken_checkers(result: ScenarioResult) -> list[str]:
    """Doubts that stand for an exception inside of a checker."""
    assert REGISTRY
    return [
        doubt
        for case in result.cases
        for judgement in case.judgements
        for doubt in judgement.doubts
        if "Error at operation" in doubt or "Exception at operation" in doubt
    ]
