"""``results.sarif``: the findings of a run for dashboards that gather those of scanners (SARIF 2.1.0)."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from netra_probe.checkers import REGISTRY
from netra_probe.checkers.verdict import checker_name
from netra_probe.display.controls import visible
from netra_probe.results.runs import Run

SARIF = "results.sarif"
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write_sarif(run: Run) -> Path:
    """Write ``results.sarif`` into the run directory; returns its path."""
    path = run.path / SARIF
    fresh = path.with_name(SARIF + ".partial")
    fresh.write_text(json.dumps(sarif_of(run), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def sarif_of(run: Run) -> dict[str, Any]:
    """The findings of a run: one result for each, hygiene as a warning, everything else as an error.

    A finding keeps its fingerprint over runs (case, checker, kind and operation), so that a dashboard can tell new ones
    from known ones. There is no file to point at: what is to be mended is a route, a type of frame or a component, and
    stands as a logical location.
    """
    results = [
        _result(run, case, finding)
        for scenario in run.results["scenarios"]
        for case in scenario["cases"]
        for finding in case["findings"]
    ]
    rules = {result["ruleId"]: _rule(result["ruleId"]) for result in results}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "netra-probe",
                        "version": run.plan.get("versions", {}).get("netra-probe") or version("netra-probe"),
                        "rules": [rules[id] for id in sorted(rules)],
                    }
                },
                "automationDetails": {"id": f"{run.environment}/{run.name}"},
                "results": results,
            }
        ],
    }


def _rule(id: str) -> dict[str, Any]:
    name, _, kind = id.partition("/")
    checker = next((one for number, one in REGISTRY.items() if checker_name(number) == name), None)
    guarantee, source = (checker.guarantee, checker.source) if checker is not None else ("", "")
    return {
        "id": id,
        "name": kind,
        "shortDescription": {"text": kind},
        "fullDescription": {"text": guarantee or kind},
        "help": {"text": f"Guarantee: {guarantee} Source: {source}".strip()},
    }


def _result(run: Run, case: dict[str, Any], finding: dict[str, Any]) -> dict[str, Any]:
    rule = f"{checker_name(finding['checker'])}/{finding['kind']}"
    places = [place["operation"] for place in finding.get("operations", ())] or [finding["kind"]]
    print_of = hashlib.sha256("|".join([case["id"], rule, finding["surface"], *sorted(places)]).encode()).hexdigest()
    return {
        "ruleId": rule,
        "level": "warning" if finding["severity"] == "hygiene" else "error",
        "message": {"text": visible(f"{case['id']}: {finding['summary']}")},
        "locations": [
            {"logicalLocations": [{"fullyQualifiedName": visible(f"{finding['surface']} {place}"), "kind": "member"}]}
            for place in places
        ],
        "partialFingerprints": {"finding/v1": print_of},
        "properties": {
            "case": case["id"],
            "environment": run.environment,
            "seed": run.results["seed"],
            "victims": finding["victims"],
            "recipients": finding["recipients"],
            "attribution": finding["attribution"],
        },
    }
