"""What happens when a run ends: pages, report, JUnit XML, dashboard, alerts; each may fail alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_probe.batch.progress import Place
from netra_probe.catalogue.folders import folder
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.history.limits import TooLargeError
from netra_probe.report.alerts import Alerts, send_alerts
from netra_probe.report.contents import Contents
from netra_probe.report.pages import copying, render, write_page
from netra_probe.results.compare import Kind
from netra_probe.results.runs import REPORT, Run, earlier, read_run
from netra_probe.results.secret_scan import Hit, all_parameters, known_secrets, scan_path

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
        **copying(),
        news=NEWS,
        hygiene_issues=[shown for shown in contents.cases if shown.hygiene_issues],
        claims=len(coverage),
        covered=sum(shown is not None for _, _, shown in coverage),
    )


def write_report(run: Run, *, earlier: Sequence[Run] = (), judged: Mapping[str, ScenarioResult] | None = None) -> Path:
    """Write ``report.html`` into the run directory; returns its path."""
    path = run.path / REPORT
    write_page(path, report_page(Contents.of(run, earlier=earlier, judged=judged)))
    return path


#: Places with secrets that the terminal names; `netra-probe scan` names all.
MOST_HITS = 20


#: How a path is told: as one would type it, or as the URL under which it will be found.
Shown = Callable[[Path], str]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was left, as lines for a terminal, and how many ``secrets`` are in what the run has left.

    With any, the run ends in status 1: everything stays where it is, but must not be shown to others as it is. ``None``
    says that some of it could not be looked through (a damaged recording), which decides nothing: status 3.
    """

    lines: tuple[str, ...]
    secrets: int | None
    #: What was refused for its size, so that not everything could be written.
    too_large: TooLargeError | None = None

    @property
    def exit_status(self) -> int:
        return 3 if self.secrets is None else 1 if self.secrets else 0


def publish(
    place: Place, *, judged: Mapping[str, ScenarioResult] | None = None, alerts: Alerts | None = None
) -> Published:
    """Leave everything beside the results of a run that others want to look at.

    Arguments:
        place: of a run that has ended and whose ``results.json`` is written.
        judged: the scenarios as they were just judged, by id; it saves judging the red ones again.
        alerts: whom to tell of what is new.

    Nothing that goes wrong here touches what was recorded or found: it becomes a line that says so. Raises
    ParameterError only when there is no run with results in the directory.
    """
    run, shown = read_run(place.directory or Path()), place.shown
    _ = run.results
    before = earlier(run)
    lines: list[str] = []
    refused: list[TooLargeError] = []

    def attempt(what: str, act: Callable[[], list[str]]) -> bool:
        try:
            lines.extend(act())
        except Exception as error:
            if isinstance(error, TooLargeError):
                refused.append(error)
            lines.append(f"warning   {what}: {_why(error)}")
            return False
        return True

    attempt("the reproducers", lambda: reproducers(run, judged, shown))
    attempt("notebooks as pages", lambda: _pages(run))
    attempt("report.html", lambda: _report(run, before, judged, shown))
    attempt("junit.xml", lambda: _junit(run, shown))
    attempt("results.sarif", lambda: _sarif(run, shown))
    attempt("the dashboard", lambda: _dashboard(run, shown))
    hits: list[Hit] = []
    searched = attempt("the search for secrets", lambda: _secrets(run, hits, shown))
    attempt("the alert", lambda: send_alerts(run, before, alerts or Alerts(), shown=shown))
    secrets = sum(hit.is_secret for hit in hits)
    seen_all = searched and secrets == len(hits)
    return Published(
        lines=tuple(lines), secrets=secrets if secrets or seen_all else None, too_large=next(iter(refused), None)
    )


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"could not be written ({error.strerror})"
    return f"could not be made ({type(error).__name__}: {error})"


def reproducers(run: Run, judged: Mapping[str, ScenarioResult] | None, shown: Shown) -> list[str]:
    """Write the scripts that show each finding again; returns the lines that say so."""
    from netra_probe.report.reproducers.writing import FOLDER, write_reproducers

    told = write_reproducers(run, judged)
    without = [one for one in told if not one.file]
    more = f"; {len(without)} without, {FOLDER}/index.json says why" if without else ""
    return [f"reproduce {shown(run.path / FOLDER)} ({len(told) - len(without)} of {len(told)} findings{more})"] * bool(
        told
    )


def _pages(run: Run) -> list[str]:
    if not any((run.path / "notebooks").glob("*.ipynb")):
        return []  # nbconvert takes seconds to load
    from netra_probe.report.notebooks import write_notebook_pages

    return [f"warning   {problem}" for problem in write_notebook_pages(run.path)]


def _report(run: Run, before: list[Run], judged: Mapping[str, ScenarioResult] | None, shown: Shown) -> list[str]:

    return [f"report    {shown(write_report(run, earlier=before, judged=judged))}"]


def _junit(run: Run, shown: Shown) -> list[str]:
    from netra_probe.report.junit import write_junit

    return [f"junit     {shown(write_junit(run))}"]


def _sarif(run: Run, shown: Shown) -> list[str]:
    from netra_probe.report.sarif import write_sarif

    return [f"sarif     {shown(write_sarif(run))}"]


def _dashboard(run: Run, shown: Shown) -> list[str]:
    from netra_probe.report.dashboard import write_dashboard

    outputs = folder("outputs").resolve()
    if run.path.resolve().parent.parent != outputs:
        return []  # a run that somebody keeps elsewhere is in nobody's trend
    return [f"dashboard {shown(write_dashboard(outputs))}"]


def _secrets(run: Run, hits: list[Hit], shown: Shown) -> list[str]:
    known = known_secrets(run.plan, *all_parameters(folder("parameters")))
    hits.extend(scan_path(run.path, known))
    secrets = sum(hit.is_secret for hit in hits)
    told = [
        f"{'SECRET   ' if hit.is_secret else 'warning  '} {str(hit).replace(str(hit.path), shown(hit.path), 1)}"
        for hit in sorted(hits, key=lambda hit: not hit.is_secret)[:MOST_HITS]
    ]
    if secrets:
        more = f" (and {secrets - MOST_HITS} more)" if secrets > MOST_HITS else ""
        told.append(
            f"SECRET    {secrets} found{more}: show this run to nobody before they are taken out, and change them; "
            "the results stay, the exit status is 1"
        )
    return told
