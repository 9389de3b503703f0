"""``run`` and ``recheck``: make evidence, and judge it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from netra_probe.batch.execution import Execution
from netra_probe.batch.notebooks import select
from netra_probe.batch.results import RESULTS, compute, write_json
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError
from netra_probe.parameters import Parameters, environment_file, read_parameters
from netra_probe.verdict import Verdict


def run(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="scenarios, such as C4; all when left out")
    ] = None,
    env: Annotated[str, typer.Option(help="environment: lab, test, development, staging or production")] = "lab",
    parameters: Annotated[Path | None, typer.Option(help="a parameter file instead of --env")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="start the lab with this fault (repeatable): W1, X1:0.5")
    ] = None,
    fault_module: Annotated[
        list[Path] | None, typer.Option(help="a Python file with further faults (repeatable)")
    ] = None,
    jobs: Annotated[int, typer.Option(help="notebooks at a time", min=1)] = min(2, os.cpu_count() or 1),
    output: Annotated[
        Path | None, typer.Option(help="run directory; outputs/<environment>/<run> when left out")
    ] = None,
    p: Annotated[
        list[tuple[str, str]] | None, typer.Option("-p", metavar="NAME VALUE", help="set a parameter (repeatable)")
    ] = None,
) -> None:
    """Execute notebooks through papermill and judge what they recorded."""
    from netra_probe.batch.run import Plan
    from netra_probe.batch.run import run as run_plan

    chosen = select(ids or [])
    values = _overrides(p or [])
    known = {name: value for name, value in values.items() if name in Parameters.model_fields}
    extra = {name: value for name, value in values.items() if name not in Parameters.model_fields}
    given = read_parameters(parameters or environment_file(env), known)
    if (fault or fault_module) and given.target:
        raise ParameterError(
            f"--fault: {given.environment} is a real deployment, faults go into the lab only; drop it."
        )
    for module in fault_module or []:
        if not module.is_file():
            raise ParameterError(f"--fault-module {module}: no such file; give a Python file with fault classes.")
    plan = Plan(
        notebooks=chosen,
        parameters=given,
        extra=extra,
        faults=tuple(fault or ()),
        fault_modules=tuple(path.resolve() for path in fault_module or ()),
        jobs=jobs,
        output=output.resolve() if output else None,
    )
    where = f" with {', '.join(plan.faults)}" if plan.faults else ""
    typer.echo(f"{len(chosen)} scenario(s) on {given.environment}{where}, {given.users} users, seed {given.seed} …")
    directory, results = run_plan(plan, tell=_tell)
    typer.echo("")
    typer.echo(summary(results))
    typer.echo("")
    for path in sorted((directory / "notebooks").glob("*.ipynb")):
        typer.echo(f"notebook  {_short(path)}")
    typer.echo(f"results   {_short(directory / RESULTS)}")
    raise typer.Exit(Verdict(results["verdict"]).exit_status)


def recheck(directory: Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")]) -> None:
    """Judge a run again from its stored histories alone; needs neither the target nor the lab."""
    results = compute(directory)
    typer.echo(summary(results))
    stored, fresh = directory / RESULTS, directory / "results.recheck.json"
    write_json(fresh, results)
    if not stored.exists():
        fresh.replace(stored)
        typer.echo(f"results   {_short(stored)} (written, it was missing)")
    elif stored.read_bytes() == fresh.read_bytes():
        fresh.unlink()
        typer.echo(f"results   {_short(stored)} is confirmed, byte for byte")
    else:
        typer.echo(f"results   {_short(stored)} says something else; the new judgement is in {fresh.name}")
    raise typer.Exit(Verdict(results["verdict"]).exit_status)


def summary(results: dict[str, Any]) -> str:
    """The verdict table of a run, as text; findings follow with victims and recipients."""
    rows, details = [], []
    for scenario in results["scenarios"]:
        for case in scenario["cases"]:
            rows.append([case["id"], case["title"], case["verdict"], case["reason"]])
            for finding in case["findings"]:
                details.append(f"{case['id']} {finding['checker']} {finding['kind']}: {finding['summary']}")
                details += [f"    {step['text']}" for step in finding["witness"]]
                if finding["attribution"]:
                    details.append(f"    looks like: {', '.join(finding['attribution'])}")
    table = Table(
        caption=f"{results['environment']} {results['run']}: {results['verdict'].upper()}",
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


def _overrides(pairs: list[tuple[str, str]]) -> dict[str, Any]:
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
    typer.echo(f"  {execution.id}  {ending}")


def _short(path: Path) -> str:
    """The path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
