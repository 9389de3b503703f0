"""``report`` and ``compare``: what a run leaves for those who were not there, and what has changed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from netra_probe.batch.progress import is_url
from netra_probe.catalogue.folders import folder
from netra_probe.cli.summary import alert_options, is_bundle, opened
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError
from netra_probe.report.alerts import Alerts
from netra_probe.results.compare import Change, Kind, compare, finding_name
from netra_probe.results.runs import Run, cases_of, find_run, read_run


@click.command()
@click.argument("run", metavar="RUN")
@alert_options
def report(run: str, alerts: Alerts) -> int:
    """Write the reports of a run again.

    Writes report.html, junit.xml and the notebooks as pages into the run directory or to its URL. Everything is
    computed from the recording; every run does this when it ends.

    Exit status: 1 if a secret was found in the outputs, 3 if the outputs cannot be scanned, else 0.
    """
    from netra_probe.report.publish import publish

    if is_bundle(run):
        raise ParameterError(f"{run}: a bundle stays as it is; unpack it, and give the directory.")
    with opened(run, past=True) as place:
        published = publish(place, alerts=alerts)
    for line in published.lines:
        click.echo(line)
    if published.too_large is not None:
        raise published.too_large
    return published.exit_status


@click.command(name="compare")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="machine-readable")
def compare_runs(before: str, after: str, as_json: bool) -> int:
    """Compare run A with run B, case by case.

    Shows the evidence that differs.

    A run is a directory, a URL, an evidence bundle (run.zip), ENV (its latest run), ENV@N (N runs before that), or
    ENV@DATE (the last run that began then, in UTC: staging@2026-11-19, or staging@2026-11-19T04).

    Exit status: 1 if something got worse, else 0, whatever the verdicts are.
    """
    with ExitStack() as stack:
        first, second = (_meant(words, stack) for words in (before, after))
        changes = compare(cases_of(first.results), cases_of(second.results))
        if as_json:
            records = [{**vars(change), "worse": change.is_worse} for change in changes]
            told = {"before": before, "after": after, "changes": records}
            click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            click.echo(difference(first, second, changes))
    return 1 if any(change.is_worse for change in changes) else 0


def _meant(words: str, stack: ExitStack) -> Run:
    if is_url(words) or is_bundle(words):
        return read_run(stack.enter_context(opened(words)).directory or Path())
    return find_run(folder("outputs"), words)


def difference(first: Run, second: Run, changes: list[Change]) -> str:
    """The comparison as text: a table of what changed, then the evidence on both sides."""
    same = len(cases_of(first.results).keys() & cases_of(second.results).keys()) - sum(
        change.before is not None and change.after is not None for change in changes
    )
    worse = sum(change.is_worse for change in changes)
    lines = [f"before  {_described(first)}", f"after   {_described(second)}", ""]
    if changes:
        rows = [
            [change.case, str(change.before or "–"), str(change.after or "–"), str(change.kind), _findings(change)]
            for change in changes
        ]
        caption = f"{len(changes)} case(s) differ, {worse} of them for the worse; {same} are the same"
        headings = ("case", "before", "after", "what", "findings added (+) and gone (−)")
        lines.append(Table(caption=caption, headings=headings, rows=rows).text())
    else:
        lines.append(f"nothing differs in {same} case(s)")
    for change in changes:
        if change.before is not None and change.after is not None:
            before, after = change.reasons
            lines += ["", f"{change.case} {change.title}", f"    before: {before}", f"    after:  {after}"]
            lines += _shown(second, change)
    return "\n".join(lines)


def _shown(run: Run, change: Change) -> list[str]:
    """The findings that a case has and had not before, with the steps that show them."""
    lines = []
    for finding in cases_of(run.results)[change.case]["findings"]:
        if finding_name(finding) in change.added:
            lines.append(f"    + {finding_name(finding)}: {finding['summary']}")
            lines += [f"        {step['text']}" for step in finding["witness"]]
    return lines


def _described(run: Run) -> str:
    faults = f" with {', '.join(run.faults)}" if run.faults else ""
    users = f"{run.plan.get('users', '?')} users, seed {run.results['seed']}"
    return f"{run.environment}{faults} {run.name}, {run.started:%Y-%m-%d %H:%M} UTC, {users}: {run.verdict.upper()}"


def _findings(change: Change) -> str:
    if change.kind in (Kind.ADDED, Kind.GONE):
        return "–"
    return "; ".join([*(f"+ {one}" for one in change.added), *(f"− {one}" for one in change.gone)]) or "–"
