"""What a terminal shows of a run's results."""

from __future__ import annotations

import textwrap
from typing import Any

from netra_probe.checkers.verdict import Confidence, Verdict, checker_name, issues
from netra_probe.display.tables import Table
from netra_probe.results.results import NOTHING_DECIDED, RESULTS, case_heading
from netra_probe.results.schema import basis, operations_of

#: Hygiene issues of one case that the terminal shows; results.json holds all. What turned it red is always shown.
MOST_FINDINGS = 3
COLUMNS = 120


def summary(results: dict[str, Any]) -> str:
    """The verdict table of a run, as text; findings follow with victims and recipients."""
    rows, details = [], []
    for scenario in results["scenarios"]:
        for case in scenario["cases"]:
            rows.append([case["id"], case_heading(case), case["verdict"], basis(case)])
            red = [found for found in case["findings"] if found["severity"] != "hygiene"]
            beside = [found for found in case["findings"] if found["severity"] == "hygiene"]
            for finding in (*red, *beside[:MOST_FINDINGS]):
                mark = "hygiene, " if finding["severity"] == "hygiene" else ""
                head = (
                    f"{case['id']} {mark}{checker_name(finding['checker'])} · {finding['kind']}: {finding['summary']}"
                )
                said = [*operations_of(finding), *([finding["explanation"]] if mark else ())]
                details += textwrap.wrap(head, COLUMNS, subsequent_indent="    ", break_on_hyphens=False)
                for part in said:
                    details += textwrap.wrap(
                        part, COLUMNS, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False
                    )
                details += [f"    {step['text']}" for step in finding["witness"]]
                if finding["attribution"]:
                    details.append(f"    looks like: {', '.join(finding['attribution'])}")
            if len(beside) > MOST_FINDINGS:
                details.append(f"{case['id']} … and {len(beside) - MOST_FINDINGS} more hygiene issues in {RESULTS}")
    objections = sum(
        finding["severity"] == "hygiene"
        for scenario in results["scenarios"]
        for case in scenario["cases"]
        for finding in case["findings"]
    )
    also = f", {issues(objections)}" if objections else ""
    table = Table(
        caption=f"{results['environment']} {results['run']}: {results['verdict'].upper()}{also}",
        headings=("case", "title", "verdict", "evidence"),
        rows=rows,
    )
    left = results["cleanup"]["left"]
    confidence = Confidence(**results["confidence"]).sentence
    lines = [table.text(), f"clean-up: {results['cleanup']['verdict']}{': left ' + ', '.join(left) if left else ''}"]
    lines += [f"{scenario['id']}: {scenario['reason']}" for scenario in results["scenarios"] if scenario.get("reason")]
    if results["verdict"] == Verdict.NOT_APPLICABLE:
        lines.append(NOTHING_DECIDED)
    return "\n".join([*lines, f"confidence: {confidence}", *([""] if details else []), *details])
