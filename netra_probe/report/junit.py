"""``junit.xml``: what a CI server shows of a run; a suite per scenario, a test case per case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from netra_probe.checkers.verdict import Verdict, checker_name
from netra_probe.display.controls import visible
from netra_probe.history import actions
from netra_probe.history.store import HistoryError
from netra_probe.results.results import find_history
from netra_probe.results.runs import Run
from netra_probe.results.schema import operations_of
from netra_probe.target.lab import title_of_fault

JUNIT = "junit.xml"


def write_junit(run: Run) -> Path:
    """Write ``junit.xml`` into the run directory; returns its path.

    A case that fails is a failure with its findings; one that was not decided an error, and one that does not apply
    is skipped, both with the reason. What is wrong with a scenario as a whole, such as objects that it left behind, is
    an error of a case of its own, so that a run which is not green has something red in it.
    """
    path = run.path / JUNIT
    fresh = path.with_name(JUNIT + ".partial")
    junit_of(run).write(str(fresh), pretty=True)
    fresh.replace(path)
    return path


def junit_of(run: Run) -> JUnitXml:
    """The results of a run as JUnit XML."""
    document = JUnitXml(f"netra-probe {run.environment}")
    for scenario in run.results["scenarios"]:
        suite = TestSuite(visible(f"{scenario['id']} {scenario['title']}"))
        suite.timestamp = run.started.strftime("%Y-%m-%dT%H:%M:%S")
        suite.add_property("environment", run.environment)
        suite.add_property("run", visible(run.name))
        suite.add_property("seed", str(run.results["seed"]))
        took = _seconds(run, scenario)
        for case in scenario["cases"]:
            suite.add_testcase(_case(run, scenario, case, took.get(case["id"], 0.0)))
        told = {Verdict(case["verdict"]) for case in scenario["cases"]}
        if Verdict(scenario["verdict"]) not in (*told, Verdict.PASS, Verdict.NOT_APPLICABLE):
            suite.add_testcase(_ending(run, scenario))
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    return document


def _seconds(run: Run, scenario: dict[str, Any]) -> dict[str, float]:
    """Case → seconds from the check before it to its own; all of the scenario's with its first without a history."""
    times: dict[str, float] = {}
    begun = 0
    try:
        for operation in find_history(run.path, scenario["id"]) or ():
            if operation.action in (actions.CHECK, actions.SKIP):
                times[str(operation.detail.get("case"))] = (operation.time - begun) / 1e9
                begun = operation.time
    except (HistoryError, OSError):
        times = {}
    return times or {case["id"]: float(scenario["seconds"]) for case in scenario["cases"][:1]}


def _case(run: Run, scenario: dict[str, Any], case: dict[str, Any], seconds: float) -> TestCase:
    told = TestCase(visible(f"{case['id']} {case['title']}"), f"{run.environment}.{scenario['id']}", seconds)
    verdict, reason = Verdict(case["verdict"]), visible(case["reason"])
    serious = [finding for finding in case["findings"] if finding["severity"] != "hygiene"]
    beside = [finding for finding in case["findings"] if finding["severity"] == "hygiene"]
    if verdict is Verdict.FAIL:
        told.result = [_with_text(Failure(reason, "finding"), "\n\n".join(map(_finding, serious)))]
    elif verdict is Verdict.INCONCLUSIVE:
        told.result = [Error(reason, "inconclusive")]
    elif verdict is Verdict.NOT_APPLICABLE:
        told.result = [Skipped(reason, "not applicable")]
    if beside:
        told.system_out = visible("Hygiene, beside the verdict:\n\n" + "\n\n".join(map(_finding, beside)))
    return told


def _ending(run: Run, scenario: dict[str, Any]) -> TestCase:
    told = TestCase(f"{scenario['id']} ends as it should", f"{run.environment}.{scenario['id']}", 0.0)
    left = [item for item in run.results["cleanup"]["left"] if item.startswith(f"{scenario['id']}: ")]
    why = "; ".join(left) or "the scenario as a whole was not decided"
    told.result = [Error(visible(why), str(scenario["verdict"]))]
    return told


def _finding(finding: dict[str, Any]) -> str:
    lines = [f"{checker_name(finding['checker'])} · {finding['kind']}: {finding['summary']}", finding["explanation"]]
    lines += [f"  {operation}" for operation in operations_of(finding)]
    lines += [f"  {step['text'] or '#' + str(step['operation'])}" for step in finding["witness"]]
    lines += [f"looks like fault {', '.join(map(title_of_fault, finding['attribution']))}"] * bool(
        finding["attribution"]
    )
    return visible("\n".join(line for line in lines if line))


def _with_text(result: Failure, text: str) -> Failure:
    result.text = text
    return result
