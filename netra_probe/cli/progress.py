"""What a terminal, or a log, shows while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from netra_probe.batch.execution import Execution
from netra_probe.batch.progress import Estimate, Follower, Watcher
from netra_probe.checkers.verdict import Verdict
from netra_probe.cli.terminal import drawing
from netra_probe.display.controls import visible

#: Colours of verdicts on a terminal.
COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow"}


def watcher_for_terminal() -> Watcher:
    """Bars where somebody looks on, else a line for each notebook that ends."""
    return Bars(Console(file=drawing())) if sys.stdout.isatty() else Lines()


def spoken(seconds: float) -> str:
    """A time as one says it: ``40 s``, ``3 min``.

    >>> spoken(42), spoken(170)
    ('42 s', '3 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def expectation(estimate: Estimate) -> str:
    """What earlier runs let one expect, or "" where there are none."""
    if not estimate.known:
        return ""
    unknown = len(estimate.seconds.keys() - estimate.known)
    guessed = f", {unknown} of them never run before" if unknown else ""
    return f"about {spoken(estimate.total)}, {estimate.jobs} at a time, as earlier runs went{guessed}"


def verdict_line(execution: Execution, record: Mapping[str, Any]) -> str:
    """``C4  pass  5 cases, 12 s``; where it did not pass, why."""
    verdict = Verdict(record["verdict"])
    shown = verdict.upper() if verdict is Verdict.FAIL else str(verdict)
    if execution.status != "completed":
        why = f"{execution.status}: {execution.reason}"
        shown = f"{shown}, {why}" if verdict is Verdict.FAIL else why
    elif verdict is Verdict.INCONCLUSIVE and record.get("reason"):
        shown += f"  {record['reason']}"
    elif verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        case = next((one for one in record["cases"] if one["verdict"] == verdict), None)
        shown += f"  {case['id']} {case['reason']}" if case else "  see its clean-up"
    else:
        cases = len(record["cases"])
        shown += f"  {cases} case{'s' if cases != 1 else ''}"
    return f"{execution.id}  {shown}, {spoken(execution.seconds)}"


class Lines(Watcher):
    """One line when a notebook ends."""

    def begin(self, estimate: Estimate, directory: Path | None) -> None:
        if told := expectation(estimate):
            click.echo(told)

    def ended(self, execution: Execution, record: Mapping[str, Any]) -> None:
        click.echo(f"  {verdict_line(execution, record)}")


class Bars(Watcher):
    """One bar for the run, and a line for each notebook that is running, with its current case.

    Arguments:
        console: where they are drawn.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._estimate = Estimate(seconds={}, jobs=1)
        self._directory: Path | None = None
        self._run: TaskID | None = None
        self._running: dict[str, tuple[TaskID, float, Follower]] = {}
        self._waiting: list[str] = []
        self._done = 0

    def begin(self, estimate: Estimate, directory: Path | None) -> None:
        if told := expectation(estimate):
            self._console.print(told, markup=False, highlight=False)
        self._estimate, self._directory = estimate, directory
        self._waiting = list(estimate.seconds)
        self._run = self._progress.add_task("", total=None)
        self._progress.start()

    def started(self, id: str) -> None:
        self._waiting = [one for one in self._waiting if one != id]
        task = self._progress.add_task(f"{id} starting", total=self._estimate.seconds.get(id) or None)
        self._running[id] = task, time.monotonic(), Follower(self._directory, id)

    def look(self) -> None:
        now = time.monotonic()
        elapsed = {id: now - begin for id, (_, begin, _) in self._running.items()}
        for id, (task, _, follower) in self._running.items():
            usual = self._estimate.seconds.get(id)
            # Nothing is shown as done that is not.
            part = min(elapsed[id], 0.99 * usual) if usual else None
            self._progress.update(task, description=visible(f"  {id} {follower.case()}"), completed=part)
        if self._run is None:
            return
        total = len(self._running) + len(self._waiting) + self._done
        left = self._estimate.left(elapsed, self._waiting) if self._estimate.known else 0.0
        told = f", about {spoken(left)} left" if left else ""
        self._progress.update(
            self._run, description=f"{self._done} of {total} done{told}", completed=self._done, total=total
        )

    def refresh(self) -> None:
        """Draw now what is drawn several times in a second anyway."""
        self._progress.refresh()

    def ended(self, execution: Execution, record: Mapping[str, Any]) -> None:
        self._done += 1
        self._waiting = [one for one in self._waiting if one != execution.id]
        if begun := self._running.pop(execution.id, None):
            self._progress.remove_task(begun[0])
        style = COLOURS.get(Verdict(record["verdict"]), "")
        self._console.print(visible(f"  {verdict_line(execution, record)}"), style=style, markup=False, highlight=False)

    def end(self) -> None:
        self._progress.stop()
