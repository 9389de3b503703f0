"""What commands share: a run as an argument, consent, options for alerts, and the summary of results."""

from __future__ import annotations

import functools
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from netra_probe.batch.progress import Place, is_url
from netra_probe.checkers.attribution.causes import Explained, causes
from netra_probe.checkers.principals import times
from netra_probe.checkers.verdict import Confidence, Verdict, checker_name, issues
from netra_probe.display.causes import causes_told
from netra_probe.display.controls import COLUMNS
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError
from netra_probe.report.alerts import Alerts
from netra_probe.results.results import NOTHING_DECIDED, RESULTS, case_heading
from netra_probe.results.schema import basis, operations_of
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.lab import title_of_fault

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--alert-webhook", metavar="REF", default="", help="post new failures and recoveries to env:NAME"),
    click.option("--alert-command", metavar="CMD", default="", help="start this, with the alert as JSON on its input"),
    click.option("--alert-always", is_flag=True, help="also report failures that were reported before"),
)


def alert_options(command: Command) -> Command:
    """Give a command the options of alerts; it is called with all of them as one ``alerts``."""

    @functools.wraps(command)
    def with_alerts(alert_webhook: str, alert_command: str, alert_always: bool, **values: Any) -> Any:
        return command(alerts=Alerts(webhook=alert_webhook, command=alert_command, always=alert_always), **values)

    decorated: Any = with_alerts
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


yes_option = click.option("--yes", is_flag=True, help="do not ask before a run on another machine")


def ask_before(target: Target, *, environment: str, what: str, yes: bool) -> None:
    """Say what will be done to a target, and go on only if somebody says so in so many words.

    Nothing is asked where everything is on this machine, where ``--yes`` was given, and where the target's parameters
    hold ``consent``, whose words the validation has compared.

    Arguments:
        what: what would be done, as the rest of a sentence.

    Raises ParameterError where the answer is another one, or nobody is there to give it.
    """
    if target.is_local:
        return
    hosts = sorted({urlsplit(url).hostname or "" for url in (target.auth_url, *target.backend_urls)})
    allowed = f", authorised by {target.authorised_by}" if target.mode is Mode.ATTACK else ""
    click.echo(f"{environment} is not on this machine: {', '.join(hosts)}. Mode {target.mode}{allowed}.", err=True)
    click.echo(what, err=True)
    if yes or target.consent:
        return
    instead = f'give --yes, or write `consent: "{target.words}"` in the target\'s parameters'
    try:
        answer = click.prompt(f'Type "{environment}" to go ahead', default="", show_default=False, err=True)
    except click.Abort:
        raise ParameterError(f"{environment}: nobody is there to be asked; {instead}.") from None
    if answer.strip() != environment:
        raise ParameterError(f"{environment}: not confirmed, nothing was sent; {instead}.")


@contextmanager
def opened(run: str, *, past: bool = False) -> Iterator[Place]:
    """A run directory for the block; what the block changes at a URL is there afterwards.

    A bundle is only for reading: what the block changes in it is lost. ``past`` also has the runs at hand that lie
    beside it.
    """
    if is_url(run):
        from netra_probe.batch.remote_store import fetch_past, staged

        with staged(run, existing=True) as staging:
            if past:
                fetch_past(run, staging.directory.parent)
            yield staging
    elif is_bundle(run):
        from netra_probe.results.prune import unpacked

        with unpacked(Path(run)) as directory:
            yield Place(directory)
    else:
        yield Place(Path(run))


def is_bundle(run: str) -> bool:
    """Whether it is the name of an evidence bundle."""
    return run.endswith(".zip") and not is_url(run)


#: Hygiene issues of one case that the terminal shows; results.json holds all. What turned it red is always shown.
MOST_FINDINGS = 3


def columns() -> int:
    """Columns of a line: those of the terminal, 120 at most; 120 where there is no terminal, or COLUMNS says so."""
    return min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)


#: Characters of what a failure rests on, in the table.
MOST_OF_A_FAILURE = 100


def summary(results: dict[str, Any], *, verbose: bool = False) -> str:
    """A run as text, the verdict last: causes first, then a line for each case that is not green, then the table.

    Arguments:
        verbose: with every finding, its operations and its witness.
    """
    rows, details, told = [], [], []
    for scenario in results["scenarios"]:
        red = [
            Explained(
                attribution=tuple(finding["attribution"]),
                shape=(finding["checker"], finding["kind"], finding["surface"]),
            )
            for case in scenario["cases"]
            for finding in case["findings"]
            if finding["severity"] != "hygiene"
        ]
        told += [line for cause in causes_told(causes(red)) for line in _wrapped(f"{scenario['id']}: {cause}")]
        for case in scenario["cases"]:
            # The findings give the full evidence of a failure.
            evidence = basis(case)
            if case["verdict"] == Verdict.FAIL:
                evidence = textwrap.shorten(evidence, MOST_OF_A_FAILURE, placeholder=" …")
            rows.append([case["id"], case_heading(case), case["verdict"], evidence])
            details += _findings(case, verbose=verbose)
            if case["verdict"] == Verdict.INCONCLUSIVE and case.get("run", True):
                details += _wrapped(f"{case['id']} not decided: {case['reason']}")
    hygiene_issues = sum(
        finding["severity"] == "hygiene"
        for scenario in results["scenarios"]
        for case in scenario["cases"]
        for finding in case["findings"]
    )
    also = f", {issues(hygiene_issues)}" if hygiene_issues else ""
    table = Table(
        caption=f"{results['environment']} {results['run']}",
        headings=("case", "title", "verdict", "evidence"),
        rows=rows,
    )
    left = results["cleanup"]["left"]
    confidence = Confidence(**results["confidence"]).sentence
    lines = [*told, *([""] if told else []), *details, *([""] if details else []), table.text(columns())]
    lines += [f"clean-up: {results['cleanup']['verdict']}{': left ' + ', '.join(left) if left else ''}"]
    lines += [f"{scenario['id']}: {scenario['reason']}" for scenario in results["scenarios"] if scenario.get("reason")]
    if results["verdict"] == Verdict.NOT_APPLICABLE:
        lines.append(NOTHING_DECIDED)
    verdict = f"{results['environment']} {results['run']}: {results['verdict'].upper()}{also}"
    return "\n".join([*lines, *_wrapped(f"confidence: {confidence}"), verdict])


def _findings(case: dict[str, Any], *, verbose: bool) -> list[str]:
    """The findings of a case: a few lines each, or everything that results.json has of them."""
    red = [found for found in case["findings"] if found["severity"] != "hygiene"]
    beside = [found for found in case["findings"] if found["severity"] == "hygiene"]
    details = []
    for finding in (*red[: None if verbose else 1], *beside[:MOST_FINDINGS]):
        mark = "hygiene, " if finding["severity"] == "hygiene" else ""
        details += _wrapped(
            f"{case['id']} {mark}{checker_name(finding['checker'])} · {finding['kind']}: {finding['summary']}"
        )
        if verbose:
            for part in (*operations_of(finding), finding["explanation"]):
                details += _wrapped(part, indent="    ")
        for step in finding["witness"][0 if verbose else -1 :]:
            most = columns() - 4 if not verbose else len(step["text"])
            details.append("    " + (step["text"] if len(step["text"]) <= most else f"{step['text'][: most - 1]}…"))
        if verbose and finding["attribution"]:
            details += _wrapped(
                f"looks like fault {', '.join(map(title_of_fault, finding['attribution']))}", indent="    "
            )
    if len(red) > 1 and not verbose:
        details.append(f"{case['id']} … and {times(len(red) - 1, 'more finding')}: --verbose, or the report")
    if len(beside) > MOST_FINDINGS:
        details.append(f"{case['id']} … and {len(beside) - MOST_FINDINGS} more hygiene issues in {RESULTS}")
    return details


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, columns(), initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False
    )
