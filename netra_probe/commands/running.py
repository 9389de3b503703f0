"""``run``: make evidence, in one environment or in several, or finish a run that has ended early."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from netra_probe import lab
from netra_probe.batch.results import RESULTS
from netra_probe.commands.alerting import alert_options
from netra_probe.commands.asking import ask_before, yes_option
from netra_probe.commands.summary import short, summary
from netra_probe.errors import ParameterError, ProbeError
from netra_probe.parameters import Parameters, environment_file, read_parameters, validated
from netra_probe.target import Target
from netra_probe.verdict import Verdict

if TYPE_CHECKING:
    from netra_probe.batch.alerts import Alerts
    from netra_probe.batch.cluster import Cluster
    from netra_probe.batch.notebooks import Notebook
    from netra_probe.batch.plan import Plan
    from netra_probe.judging import ScenarioResult


@click.command()
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--since", default="", metavar="REVISION", help="only notebooks changed since a git revision")
@click.option("--env", "environments", multiple=True, help="environment; repeatable  [default: lab]")
@click.option("--parameters", type=click.Path(path_type=Path), help="a parameter file instead of --env")
@click.option("--fault", "faults", multiple=True, help="start the lab with this fault: W1, or X1:0.5 (repeatable)")
@click.option(
    "--fault-module", "modules", multiple=True, type=click.Path(path_type=Path), help="a Python file with faults"
)
@click.option("--jobs", type=click.IntRange(min=1), help="notebooks at a time [cores; 1 on other machines]")
@click.option("--cell-timeout", type=click.IntRange(min=1), help="seconds that one cell may take [600]")
@click.option("--scheduler", metavar="URL", help="execute on the workers of a Dask cluster: tcp://host:8786")
@click.option("--output", help="run directory [outputs/<environment>/<run>]")
@click.option("--resume", metavar="RUN", help="finish what is missing in a run that has ended early")
@yes_option
@alert_options
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="set a parameter (repeatable)")
def run(**options: Any) -> int:
    """Execute notebooks through papermill and judge what they recorded.

    A SELECTOR is an id (C4), a pattern ('A*'), a component (UnifiedToolDispatcher), a requirement (C4.2), or words of a
    symptom that the start notebook lists ("another user's report"). All notebooks when none is given.
    """
    asked = Options(**options)
    plans = [_resumed(asked)] if asked.resume else _plans(asked)
    if not plans:
        click.echo(f"no notebook that was asked for has changed since {asked.since}; nothing was run.")
        return 0
    for plan in plans:
        ask_before_running(plan.parameters, list(plan.notebooks), yes=asked.yes)
    statuses = []
    with _workers(asked.scheduler) as workers:
        for number, plan in enumerate(plans):
            if number:
                click.echo("")
            try:
                statuses.append(_run_one(_spread(plan, workers, asked), workers, asked))
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
    from netra_probe.batch.cluster import cluster

    with cluster(scheduler) as found:
        yield found


def _spread(plan: Plan, workers: Cluster | None, asked: Options) -> Plan:
    """The plan with as many jobs as a cluster has room for, unless somebody has said how many."""
    if workers is None or asked.jobs or plan.parameters.target.get("accounts"):
        return plan
    return replace(plan, jobs=workers.jobs)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What stands on the command line of ``run``."""

    selectors: tuple[str, ...]
    since: str
    environments: tuple[str, ...]
    parameters: Path | None
    faults: tuple[str, ...]
    modules: tuple[Path, ...]
    jobs: int | None
    cell_timeout: int | None
    scheduler: str | None
    output: str | None
    resume: str | None
    yes: bool
    alerts: Alerts
    pairs: tuple[tuple[str, str], ...]


def _plans(asked: Options) -> list[Plan]:
    """One plan for each environment, all validated; none when no notebook has changed.

    Raises ParameterError before anything is started.
    """
    from netra_probe.batch.plan import CELL_SECONDS, Plan, parameters_of_each
    from netra_probe.batch.selection import select

    chosen = select(asked.selectors, since=asked.since)
    if not chosen:
        return []
    values = _overrides(asked.pairs)
    known = {name: value for name, value in values.items() if name in Parameters.model_fields}
    files = [*([asked.parameters] if asked.parameters else []), *map(environment_file, asked.environments)]
    given = [read_parameters(path, known, resolve=True) for path in dict.fromkeys(files or [environment_file("lab")])]
    names = [one.environment for one in given]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ParameterError(f'environment "{twice}" is given twice; name each once, or run one after the other.')
    plans = []
    for one in given:
        if (asked.faults or asked.modules) and one.target:
            raise ParameterError(
                f"--fault: {one.environment} is a real deployment, faults go into the lab only; drop it."
            )
        check_faults(asked.faults, asked.modules)
        output = Path(asked.output).resolve() if asked.output else None
        plan = Plan(
            notebooks=chosen,
            parameters=one,
            extra={name: value for name, value in values.items() if name not in Parameters.model_fields},
            set=tuple(known),
            faults=asked.faults,
            fault_modules=tuple(path.resolve() for path in asked.modules),
            jobs=asked.jobs or jobs_on(one),
            cell_seconds=asked.cell_timeout or CELL_SECONDS,
            output=output / one.environment if output and len(given) > 1 else output,
        )
        parameters_of_each(plan)
        plans.append(plan)
    return plans


def _resumed(asked: Options) -> Plan:
    """The plan of a run that is to be finished. Raises ParameterError where it or another option stands in the way."""
    from netra_probe.batch.plan import planned

    own: dict[str, object] = {
        "--since": asked.since,
        "--env": asked.environments,
        "--parameters": asked.parameters,
        "-p": asked.pairs,
    }
    own |= {"--fault": asked.faults, "--fault-module": asked.modules, "--output": asked.output}
    own |= {"a SELECTOR": asked.selectors, "--cell-timeout": asked.cell_timeout}
    if wrong := [name for name, value in own.items() if value]:
        raise ParameterError(f"--resume goes on as the run was begun; drop {', '.join(wrong)}.")
    plan = planned(Path(str(asked.resume)).resolve())
    check_faults(plan.faults, plan.fault_modules)
    return replace(plan, jobs=asked.jobs or jobs_on(plan.parameters))


def _run_one(plan: Plan, workers: Cluster | None, asked: Options) -> int:
    """One environment, from the announcement to the paths of what it left; returns its exit status."""
    from netra_probe.batch.publishing import publish
    from netra_probe.batch.run import run as run_plan
    from netra_probe.commands.progress import watcher_for_terminal

    given = plan.parameters
    where = f" with {', '.join(plan.faults)}" if plan.faults else ""
    again = "going on with " if asked.resume else ""
    click.echo(
        f"{again}{len(plan.notebooks)} scenario(s) on {given.environment}{where}, "
        f"{given.users} users, seed {given.seed} …"
    )
    judged: dict[str, ScenarioResult] = {}
    directory, results = run_plan(
        plan, executor=workers, watcher=watcher_for_terminal(), keep=judged, resume=bool(asked.resume)
    )
    published = publish(directory, judged=judged, alerts=asked.alerts)
    click.echo("")
    click.echo(summary(results))
    click.echo("")
    for path in sorted((directory / "notebooks").glob("*.ipynb")):
        click.echo(f"notebook  {short(path)}")
    click.echo(f"results   {short(directory / RESULTS)}")
    for line in published.lines:
        click.echo(line)
    return Verdict(results["verdict"]).exit_status


def worst(statuses: Sequence[int]) -> int:
    """The exit status of several runs: a finding outweighs what is inconclusive, which outweighs a pass."""
    return next((status for status in (1, 2, 3) if status in statuses), 0)


def jobs_on(given: Parameters) -> int:
    """How many notebooks at a time are polite: one where others work, and one where they would share accounts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not given.target or "replay" in given.target:
        return cores
    target = _target(given)
    return cores if target.is_local and not target.accounts else 1


def ask_before_running(given: Parameters, chosen: list[Notebook], *, yes: bool) -> None:
    """Say what the run would do to a deployment on another machine, and let somebody say that it may."""
    if not given.target or "replay" in given.target or _target(given).is_local:
        return
    from netra_probe.doctor import planned

    amounts = planned(given, _target(given), chosen)
    what = f"It makes and tries: {amounts}." if amounts else "It only looks: nobody is registered and nothing is sent."
    ask_before(_target(given), environment=given.environment, what=what, yes=yes)


def _target(given: Parameters) -> Target:
    return validated(given.target, given.environment, lambda keys: given.environment)


def check_faults(faults: tuple[str, ...], modules: tuple[Path, ...]) -> None:
    """Raise ParameterError for a fault that does not exist or cannot be prepared, or a module that cannot be loaded."""
    for module in modules:
        if not module.is_file():
            raise ParameterError(f"--fault-module {module}: no such file; give a Python file with fault classes.")
    try:
        lab.install_libraries(lab.check_selection(",".join(faults), [str(module) for module in modules]))
    except lab.FaultProblem as error:
        raise ParameterError(f"--fault: {error}; `netra-probe lab faults` lists them.") from None
    except lab.LabError as error:
        raise ParameterError(f"--fault: {error}") from None


def _overrides(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """``-p name value`` with the value read as YAML, as papermill does."""
    values = {}
    for name, text in pairs:
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ParameterError(f"-p {name}: the value is not YAML; put strings in quotes.") from None
    return values
