"""``run`` and ``recheck``: make evidence, and judge it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import yaml

from netra_probe import lab
from netra_probe.batch.execution import Execution
from netra_probe.batch.notebooks import Notebook, select
from netra_probe.batch.publishing import publish
from netra_probe.batch.results import RESULTS, compute, write_json
from netra_probe.commands.asking import ask_before, yes_option
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError
from netra_probe.judging import ScenarioResult
from netra_probe.parameters import Parameters, environment_file, read_parameters, validated
from netra_probe.target import Target
from netra_probe.verdict import Verdict

#: Findings of one case that the terminal shows; results.json holds all.
MOST_FINDINGS = 3


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--env", default="lab", show_default=True, help="lab, test, development, staging or production")
@click.option("--parameters", type=click.Path(path_type=Path), help="a parameter file instead of --env")
@click.option("--fault", "faults", multiple=True, help="start the lab with this fault: W1, or X1:0.5 (repeatable)")
@click.option(
    "--fault-module", "modules", multiple=True, type=click.Path(path_type=Path), help="a Python file with faults"
)
@click.option("--jobs", type=click.IntRange(min=1), help="notebooks at a time [2; 1 on other machines]")
@click.option("--output", type=click.Path(path_type=Path), help="run directory [outputs/<environment>/<run>]")
@yes_option
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="set a parameter (repeatable)")
def run(
    ids: tuple[str, ...],
    env: str,
    parameters: Path | None,
    faults: tuple[str, ...],
    modules: tuple[Path, ...],
    jobs: int | None,
    output: Path | None,
    yes: bool,
    pairs: tuple[tuple[str, str], ...],
) -> int:
    """Execute notebooks through papermill and judge what they recorded; all of them when no ID is given."""
    from netra_probe.batch.run import Plan
    from netra_probe.batch.run import run as run_plan

    chosen = select(ids)
    values = _overrides(pairs)
    known = {name: value for name, value in values.items() if name in Parameters.model_fields}
    extra = {name: value for name, value in values.items() if name not in Parameters.model_fields}
    path = parameters or environment_file(env)
    given = read_parameters(path, known, resolve=True)
    if (faults or modules) and given.target:
        raise ParameterError(
            f"--fault: {given.environment} is a real deployment, faults go into the lab only; drop it."
        )
    check_faults(faults, modules)
    plan = Plan(
        notebooks=chosen,
        parameters=given,
        extra=extra,
        set=tuple(known),
        faults=faults,
        fault_modules=tuple(path.resolve() for path in modules),
        jobs=jobs or jobs_on(given),
        output=output.resolve() if output else None,
    )
    ask_before_running(given, chosen, yes=yes)
    where = f" with {', '.join(plan.faults)}" if plan.faults else ""
    click.echo(f"{len(chosen)} scenario(s) on {given.environment}{where}, {given.users} users, seed {given.seed} …")
    judged: dict[str, ScenarioResult] = {}
    directory, results = run_plan(plan, tell=_tell, keep=judged)
    published = publish(directory, judged=judged)
    click.echo("")
    click.echo(summary(results))
    click.echo("")
    for path in sorted((directory / "notebooks").glob("*.ipynb")):
        click.echo(f"notebook  {_short(path)}")
    click.echo(f"results   {_short(directory / RESULTS)}")
    for line in published.lines:
        click.echo(line)
    return Verdict(results["verdict"]).exit_status


def jobs_on(given: Parameters) -> int:
    """How many notebooks at a time are polite: one where others work, and one where they would share accounts."""
    several = min(2, os.cpu_count() or 1)
    if not given.target or "replay" in given.target:
        return several
    target = _target(given)
    return several if target.is_local and not target.accounts else 1


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


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def recheck(directory: Path) -> int:
    """Judge a run again from its stored histories alone; needs neither the target nor the lab."""
    results = compute(directory)
    click.echo(summary(results))
    stored, fresh = directory / RESULTS, directory / "results.recheck.json"
    write_json(fresh, results)
    if not stored.exists():
        fresh.replace(stored)
        click.echo(f"results   {_short(stored)} (written, it was missing)")
    elif stored.read_bytes() == fresh.read_bytes():
        fresh.unlink()
        click.echo(f"results   {_short(stored)} is confirmed, byte for byte")
    else:
        click.echo(f"results   {_short(stored)} says something else; the new judgement is in {fresh.name}")
    return Verdict(results["verdict"]).exit_status


def summary(results: dict[str, Any]) -> str:
    """The verdict table of a run, as text; findings follow with victims and recipients."""
    rows, details = [], []
    for scenario in results["scenarios"]:
        for case in scenario["cases"]:
            rows.append([case["id"], case["title"], case["verdict"], case["reason"]])
            for finding in sorted(case["findings"], key=lambda found: found["severity"] == "hygiene")[:MOST_FINDINGS]:
                mark = "hygiene, " if finding["severity"] == "hygiene" else ""
                details.append(f"{case['id']} {mark}{finding['checker']} {finding['kind']}: {finding['summary']}")
                details += [f"    {finding['explanation']}"] if mark else []
                details += [f"    {step['text']}" for step in finding["witness"]]
                if finding["attribution"]:
                    details.append(f"    looks like: {', '.join(finding['attribution'])}")
            if len(case["findings"]) > MOST_FINDINGS:
                details.append(f"{case['id']} … and {len(case['findings']) - MOST_FINDINGS} more in {RESULTS}")
    objections = sum(
        finding["severity"] == "hygiene"
        for scenario in results["scenarios"]
        for case in scenario["cases"]
        for finding in case["findings"]
    )
    beside = f", hygiene: {objections} objection(s)" if objections else ""
    table = Table(
        caption=f"{results['environment']} {results['run']}: {results['verdict'].upper()}{beside}",
        headings=("case", "claim", "verdict", "evidence"),
        rows=rows,
    )
    left = results["cleanup"]["left"]
    bound = results["confidence"]["upper_bound"]
    confidence = f"{results['confidence']['runs']} agent runs, {results['confidence']['deliveries']} events delivered"
    if bound < 1:
        confidence += f"; fewer than {bound:.1%} of runs leak (95 %)"
    lines = [table.text(), f"clean-up: {results['cleanup']['verdict']}{': left ' + ', '.join(left) if left else ''}"]
    return "\n".join([*lines, f"confidence: {confidence}", *([""] if details else []), *details])


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


def _tell(execution: Execution) -> None:
    ending = execution.status if not execution.reason else f"{execution.status}: {execution.reason}"
    click.echo(f"  {execution.id}  {ending}")


def _short(path: Path) -> str:
    """The path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
