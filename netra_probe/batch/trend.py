"""What earlier runs have said."""

from __future__ import annotations

import json
from pathlib import Path


def last_verdicts(outputs: Path) -> dict[str, dict[str, str]]:
    """Scenario id → environment → verdict of the latest run that holds results; damaged files are passed over."""
    latest: dict[str, dict[str, str]] = {}
    for path in sorted(outputs.glob("*/*/results.json"), key=lambda file: file.stat().st_mtime):
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            for scenario in results["scenarios"]:
                latest.setdefault(scenario["id"], {})[results["environment"]] = scenario["verdict"]
        except (ValueError, KeyError, TypeError):
            continue
    return latest
