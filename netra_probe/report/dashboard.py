"""``outputs/index.html``: how each requirement has fared in each environment, run by run, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import ParameterError
from netra_probe.report.pages import render, write_page
from netra_probe.results.compare import all_runs
from netra_probe.results.results import RESULTS
from netra_probe.results.runs import REPORT, Run, cases_of

INDEX = "index.html"
#: Runs of one environment that the dashboard shows; older ones have their reports, and `compare`.
MOST_RUNS = 40


@dataclass(frozen=True, kw_only=True)
class Column:
    """A run as the dashboard shows it; without results it is still going on, or was cut."""

    run: Run
    link: str
    verdict: str | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A scenario or a case, with its verdict in each run, newest first; None where it was not run."""

    id: str
    title: str
    verdicts: tuple[str | None, ...]
    cases: tuple[Row, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One environment: its latest runs and how its requirements have fared in them; ``older`` are not shown."""

    environment: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    older: int

    @property
    def latest(self) -> Column | None:
        """The newest run that has results."""
        return next((column for column in self.columns if column.verdict), None)

    @staticmethod
    def of(environment: str, runs: Sequence[Run], outputs: Path, unreadable: list[str]) -> Trend:
        """The trend of runs, oldest first; results that cannot be read are named in ``unreadable``."""
        shown = [*reversed(runs)][:MOST_RUNS]
        columns = tuple(_column(run, outputs, unreadable) for run in shown)
        tables = [
            {scenario["id"]: scenario for scenario in run.results["scenarios"]} if run.has_results else {}
            for run in shown
        ]
        cases = [cases_of(run.results) if run.has_results else {} for run in shown]
        ids = {id: None for table in tables for id in table}
        rows = []
        for id in sorted(ids, key=lambda id: ([*SCENARIOS, id].index(id), id)):
            mine = sorted({case["id"] for table in tables if id in table for case in table[id]["cases"]}, key=_natural)
            titles = {case["id"]: case["title"] for table in tables if id in table for case in table[id]["cases"]}
            rows.append(
                Row(
                    id=id,
                    title=next(table[id]["title"] for table in tables if id in table),
                    verdicts=tuple(table[id]["verdict"] if id in table else None for table in tables),
                    cases=tuple(
                        Row(
                            id=case,
                            title=titles[case],
                            verdicts=tuple(one.get(case, _NONE)["verdict"] for one in cases),
                        )
                        for case in mine
                    ),
                )
            )
        return Trend(environment=environment, columns=columns, rows=tuple(rows), older=len(runs) - len(shown))


_NONE = {"verdict": None}


def write_dashboard(outputs: Path) -> Path:
    """Write ``index.html`` into the folder of all runs; returns its path.

    Written in one step from what is there at that moment: of two runs that end at once, the later one shows both.
    """
    path = outputs / INDEX
    write_page(path, dashboard_page(outputs))
    return path


def dashboard_page(outputs: Path) -> str:
    """The dashboard as text."""
    unreadable: list[str] = []
    runs = all_runs(outputs, unreadable)
    trends = [Trend.of(environment, mine, outputs, unreadable) for environment, mine in runs.items()]
    return render("dashboard.html.j2", trends=trends, unreadable=[_relative(one, outputs) for one in unreadable])


def _column(run: Run, outputs: Path, unreadable: list[str]) -> Column:
    file = next((name for name in (REPORT, RESULTS) if (run.path / name).is_file()), "run.json")
    verdict = None
    if (run.path / RESULTS).exists():
        try:
            verdict = str(run.verdict)
        except ParameterError as error:
            unreadable.append(str(error))
    link = quote((run.path / file).relative_to(outputs).as_posix())
    return Column(run=run, link=link, verdict=verdict)


def _relative(sentence: str, outputs: Path) -> str:
    return sentence.replace(f"{outputs}/", "")


def _natural(id: str) -> tuple[str, int, str]:
    stem, _, number = id.rpartition(".")
    return (stem, int(number), "") if number.isdigit() else (id, 0, id)
