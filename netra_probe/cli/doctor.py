"""``doctor``: what a deployment is like today, and what a run would do to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from netra_probe.cli.summary import ask_before, yes_option
from netra_probe.errors import ParameterError
from netra_probe.target import lab as embedded_lab
from netra_probe.target.deployment import Target
from netra_probe.target.parameters import Parameters, environment_file, read_parameters, validated


@click.command()
@click.option("--env", default="lab", show_default=True, help="lab, test, development, staging or production")
@click.option("--parameters", type=click.Path(path_type=Path), help="a parameter file instead of --env")
@click.option("--json", "as_json", is_flag=True, help="machine-readable")
@click.option("--plan", is_flag=True, help="only list which operations a run may send, which not, and why")
@yes_option
def doctor(env: str, parameters: Path | None, as_json: bool, plan: bool, yes: bool) -> int:
    """Check a target before a run: what is reachable, and what a run would do.

    Exit status: 0 ready, 2 wrong parameters, 3 not ready: unreachable or half-dead.
    """
    from netra_probe.doctor import examine, own_amounts, plan_operations

    path = parameters or environment_file(env)
    given = read_parameters(path, resolve=True)
    target = target_in(given, path)
    if plan:
        told = "The doctor reads what the services say that they offer, and sends nothing else."
        ask_before(target, environment=given.environment, what=told, yes=yes)
        operations = asyncio.run(plan_operations(given, target))
        said = json.dumps(operations.as_record(), indent=2, ensure_ascii=False) if as_json else operations.text()
        click.echo(said)
        return 0
    mine = own_amounts(target)
    told = f"The doctor itself makes and tries: {mine}; it removes what it made." if mine else "The doctor only looks."
    ask_before(target, environment=given.environment, what=told, yes=yes)
    if target.is_local and not as_json:
        click.echo(told, err=True)
    report = asyncio.run(examine(given, target))
    click.echo(json.dumps(report.as_record(), indent=2, ensure_ascii=False) if as_json else report.text())
    return report.exit_status


def target_in(given: Parameters, path: Path) -> Target:
    """The target of a parameter file; without one the lab, started if none is up."""
    values: dict[str, Any] = given.target
    if "replay" in values:
        raise ParameterError(f"{path}: a recording needs no doctor; name a deployment.")
    if not values:
        return embedded_lab.find_or_start()
    return validated(values, given.environment, lambda keys: str(path))
