"""What earlier runs have said."""

from __future__ import annotations

from pathlib import Path

from netra_probe.results.runs import Run, runs_in


def all_runs(outputs: Path, unreadable: list[str] | None = None) -> dict[str, list[Run]]:
    """Environment → its runs, oldest first; ``unreadable`` gets a sentence on each that cannot be read."""
    found: dict[str, list[Run]] = {}
    folders = sorted(path for path in outputs.iterdir() if path.is_dir()) if outputs.is_dir() else []
    for folder in folders:
        for run in runs_in(folder, unreadable):
            found.setdefault(run.environment, []).append(run)
    return {name: sorted(found[name], key=lambda run: run.order) for name in sorted(found)}


def last_verdicts(outputs: Path) -> dict[str, dict[str, str]]:
    """Scenario id → environment → verdict of the latest run that holds results; damaged ones are passed over."""
    latest: dict[str, dict[str, str]] = {}
    for environment, runs in all_runs(outputs).items():
        for run in runs:
            for scenario in run.results["scenarios"] if run.has_results else ():
                latest.setdefault(scenario["id"], {})[environment] = scenario["verdict"]
    return latest
