"""What a terminal shows of a run's results."""

from __future__ import annotations

from typing import Any

from netra_probe.batch.results import NOTHING_DECIDED, RESULTS, case_heading
from netra_probe.batch.schema import basis, operations_of
from netra_probe.display.tables import Table
from netra_probe.verdict import Confidence, Verdict, issues

#: Findings of one case that the terminal shows; results.json holds all.
MOST_FINDINGS = 3


def summary(results: dict[str, Any]) -> str:
    """The verdict table of a run, as text; findings follow with victims and recipients."""
    rows, details = [], []
    for scenario in results["scenarios"]:
        for case in scenario["cases"]:
            rows.append([case["id"], case_heading(case), case["verdict"], basis(case)])
            for finding in sorted(case["findings"], key=lambda found: found["severity"] == "hygiene")[:MOST_FINDINGS]:
                mark = "hygiene, " if finding["severity"] == "hygiene" else ""
                details.append(f"{case['id']} {mark}{finding['checker']} {finding['kind']}: {finding['summary']}")
                details += [f"    {operation}" for operation in operations_of(finding)]
                details += [f"    {finding['explanation']}"] if mark else []
                details += [f"    {step['text']}" for step in finding["witness"]]
                if finding["attribution"]:
                    details.append(f"    looks like: {', '.join(finding['attribution'])}")
            if len(case["findings"]) > MOST_FINDINGS:
                details.append(f"{case['id']} … and {len(case['findings']) - MOST_FINDINGS} more in {RESULTS}")
    objections = sum(
        finding["severity"] == "hygiene"
        for scenario in results["scenarios"]
        for case in scenario["cases"]
        for finding in case["findings"]
    )
    beside = f", {issues(objections)}" if objections else ""
    table = Table(
        caption=f"{results['environment']} {results['run']}: {results['verdict'].upper()}{beside}",
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
