"""``run``: make evidence, in one environment or in several, or finish a run that has ended early."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netra_probe.batch.progress import Place, is_url
from netra_probe.checkers.verdict import Verdict
from netra_probe.cli.group import faults_option, modules_option
from netra_probe.cli.plans import Options, ask_before_running, plans_of, resumed
from netra_probe.cli.summary import alert_options, summary, yes_option
from netra_probe.errors import OutputError, ProbeError
from netra_probe.results.results import PLAN, RESULTS

if TYPE_CHECKING:
    from netra_probe.batch.dask import Cluster
    from netra_probe.batch.plan import Plan
    from netra_probe.checkers.judging import ScenarioResult


@click.command()
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--since", default="", metavar="REVISION", help="only notebooks changed since a git revision")
@click.option("--env", "environments", multiple=True, help="environment; repeatable  [default: lab]")
@click.option("--parameters", type=click.Path(path_type=Path), help="a parameter file, instead of --env or beside it")
@faults_option
@modules_option
@click.option("--jobs", type=click.IntRange(min=1), help="notebooks at a time [cores; 1 on other machines]")
@click.option("--cell-timeout", type=click.IntRange(min=1), help="seconds that one cell may take [600]")
@click.option("--scheduler", metavar="URL", help="execute on the workers of a Dask cluster: tcp://host:8786")
@click.option("--output", metavar="DIR|URL", help="run directory [outputs/<environment>/<run>]")
@click.option("--verbose", is_flag=True, help="show every finding with its operations and its witness")
@click.option("--resume", metavar="DIR|URL", help="finish what is missing in a run that has ended early")
@yes_option
@alert_options
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="set a parameter (repeatable)")
def run(**options: Any) -> int:
    """Execute notebooks through papermill and judge what they recorded.

    A SELECTOR is an id (C4), a pattern ('A*'), a component (UnifiedToolDispatcher), a tag (websocket), a case (C4.2),
    or words of a symptom in the start notebook ("another user's report"). Without one, all notebooks run.
    """
    asked = Options(**options)
    with _workers(asked.scheduler) as workers:
        if asked.resume:
            return _resume(workers, asked)
        plans = plans_of(asked)
        if not plans:
            click.echo(f"no notebook that was asked for has changed since {asked.since}; nothing was run.")
            return 0
        for plan in plans:
            ask_before_running(plan.parameters, list(plan.notebooks), yes=asked.yes)
        statuses = []
        for number, plan in enumerate(plans):
            if number:
                click.echo("")
            place = asked.output or ""
            if is_url(place) and len(plans) > 1:
                place = f"{place.rstrip('/')}/{plan.parameters.environment}"
            try:
                statuses.append(_run_one(_spread(plan, workers, asked), place, workers, asked))
            except ProbeError as error:
                if len(plans) == 1:
                    raise
                # One environment that cannot be investigated keeps nobody from the next.
                click.echo(f"netra-probe: {plan.parameters.environment}: {error}", err=True)
                statuses.append(error.exit_status)
        return worst(statuses)


@contextlib.contextmanager
def _workers(scheduler: str | None) -> Iterator[Cluster | None]:
    """The cluster that was asked for."""
    if scheduler is None:
        yield None
        return
    from netra_probe.batch.dask import cluster

    with cluster(scheduler) as found:
        yield found


def _spread(plan: Plan, workers: Cluster | None, asked: Options) -> Plan:
    """The plan with as many jobs as a cluster has room for, unless somebody has said how many."""
    if workers is None or asked.jobs or plan.parameters.target.get("accounts"):
        return plan
    return replace(plan, jobs=workers.jobs)


def _run_one(plan: Plan, place: str, workers: Cluster | None, asked: Options) -> int:
    """One environment; returns its exit status. ``place`` is where its outputs go, if it is a URL."""
    if not is_url(place):
        return _run_in(Place(plan.output), plan, workers, asked)
    with _kept(place) as (staging, statuses):
        statuses.append(_run_in(staging, replace(plan, output=staging.directory), workers, asked))
    return worst(statuses)


def _resume(workers: Cluster | None, asked: Options) -> int:
    """Finish a run, here or at a URL; returns its exit status."""
    place = str(asked.resume)
    if not is_url(place):
        return _go_on(Place(Path(place).resolve()), workers, asked)
    with _kept(place, existing=True) as (staging, statuses):
        statuses.append(_go_on(staging, workers, asked))
    return worst(statuses)


def _go_on(place: Place, workers: Cluster | None, asked: Options) -> int:
    plan = resumed(asked, place.directory or Path())
    ask_before_running(plan.parameters, list(plan.notebooks), yes=asked.yes)
    return _run_in(place, _spread(plan, workers, asked), workers, asked)


@contextlib.contextmanager
def _kept(url: str, *, existing: bool = False) -> Iterator[tuple[Place, list[int]]]:
    """A place for the block, and a list for its exit status: a finding stays one even if it cannot be copied."""
    from netra_probe.batch.remote_store import staged

    statuses: list[int] = []
    try:
        with staged(url, existing=existing) as staging:
            yield staging, statuses
    except OutputError as error:
        if 1 not in statuses:
            raise
        click.echo(f"netra-probe: {error}", err=True)


def _run_in(place: Place, plan: Plan, workers: Cluster | None, asked: Options) -> int:
    """Run and publish, from the announcement to the paths of what is left; returns the exit status."""
    from netra_probe.batch.remote_store import fetch_past
    from netra_probe.batch.run import run as run_plan
    from netra_probe.cli.progress import watcher_for_terminal
    from netra_probe.report.publish import publish

    given, again = plan.parameters, "going on with " if asked.resume else ""
    where = f" with {', '.join(plan.faults)}" if plan.faults else ""
    what = f"{again}{len(plan.notebooks)} scenario(s) on {given.environment}{where}"
    click.echo(f"{what}, {given.users} users, seed {given.seed} …")
    judged: dict[str, ScenarioResult] = {}
    watcher = place.watched(watcher_for_terminal())
    directory, results = run_plan(plan, executor=workers, watcher=watcher, keep=judged, resume=bool(asked.resume))
    if is_url(place.shown(directory)):
        problem = fetch_past(place.shown(directory), directory.parent)
        if problem:
            click.echo(f"warning   what is new is not known: {problem}")
    published = publish(place if place.directory else Place(directory), judged=judged, alerts=asked.alerts)
    click.echo("")
    for path in sorted((directory / "notebooks").glob("*.ipynb")):
        click.echo(f"notebook  {place.shown(path)}")
    click.echo(f"results   {place.shown(directory / RESULTS)}")
    for line in published.lines:
        click.echo(line)
    for fault in json.loads((directory / PLAN).read_text(encoding="utf-8")).get("untriggered", ()):
        click.echo(f"warning   fault {fault} did nothing: no notebook of this run does what triggers it")
    click.echo("")
    click.echo(summary(results, verbose=asked.verbose))
    return worst([Verdict(results["verdict"]).exit_status, published.exit_status])


def worst(statuses: Sequence[int]) -> int:
    """The exit status of several runs: a finding outweighs what is inconclusive, which outweighs a pass."""
    return next((status for status in (1, 2, 3) if status in statuses), 0)
