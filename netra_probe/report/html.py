"""``report.html``: a run in one file that can be mailed; it fetches nothing and needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netra_probe.checkers.judging import ScenarioResult
from netra_probe.report.contents import Contents
from netra_probe.report.pages import render, write_page
from netra_probe.results.compare import Kind
from netra_probe.results.runs import REPORT, Run

#: The headings under which what is new is told, most urgent first.
NEWS = (
    ("New failures", (Kind.NEW_FAILURE,)),
    ("More is found than before", (Kind.MORE, Kind.OTHER)),
    ("No longer decided", (Kind.UNDECIDED,)),
    ("Recovered", (Kind.RECOVERED,)),
    ("Less is found than before", (Kind.FEWER,)),
    ("Otherwise changed", (Kind.DECIDED,)),
)


def report_page(contents: Contents) -> str:
    """The report as text."""
    coverage = [row for _, _, rows in contents.coverage for row in rows]
    return render(
        "report.html.j2",
        contents=contents,
        news=NEWS,
        objections=[shown for shown in contents.cases if shown.objections],
        claims=len(coverage),
        covered=sum(shown is not None for _, _, shown in coverage),
    )


def write_report(run: Run, *, earlier: Sequence[Run] = (), judged: Mapping[str, ScenarioResult] | None = None) -> Path:
    """Write ``report.html`` into the run directory; returns its path."""
    path = run.path / REPORT
    write_page(path, report_page(Contents.of(run, earlier=earlier, judged=judged)))
    return path
