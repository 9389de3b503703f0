"""What the command line of ``run`` asks for, as plans: all of it is checked before anything is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from netra_probe import lab
from netra_probe.batch.progress import is_url
from netra_probe.cli.summary import ask_before
from netra_probe.errors import ParameterError
from netra_probe.report.alerts import Alerts
from netra_probe.target.deployment import Target
from netra_probe.target.parameters import Parameters, environment_file, read_parameters, read_yaml, validated

if TYPE_CHECKING:
    from netra_probe.batch.notebooks import Notebook
    from netra_probe.batch.plan import Plan


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
    verbose: bool
    alerts: Alerts
    pairs: tuple[tuple[str, str], ...]


def plans_of(asked: Options) -> list[Plan]:
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
        output = Path(asked.output).resolve() if asked.output and not is_url(asked.output) else None
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


def resumed(asked: Options, directory: Path) -> Plan:
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
    plan = planned(directory)
    check_faults(plan.faults, plan.fault_modules)
    return replace(plan, jobs=asked.jobs or jobs_on(plan.parameters))


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
    what = "It only looks: nobody is registered and nothing is sent."
    if amounts:
        what = f"It makes and tries, estimated from the lab: {amounts}."
    ask_before(_target(given), environment=given.environment, what=what, yes=yes)


def _target(given: Parameters) -> Target:
    return validated(given.target, given.environment, lambda keys: given.environment)


def check_faults(faults: tuple[str, ...], modules: tuple[Path, ...]) -> None:
    """Raise ParameterError for a fault that does not exist or cannot be prepared, or a module that cannot be loaded."""
    for module in modules:
        if not module.is_file():
            raise ParameterError(f"--fault-module {module}: no such file; give a Python file with fault classes.")
    try:
        lab.check_selection(",".join(faults), [str(module) for module in modules])
    except lab.FaultProblem as error:
        raise ParameterError(f"--fault: {error}; `netra-probe lab faults` lists them.") from None


def _overrides(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """``-p name value`` with the value read as YAML, as papermill does."""
    values = {}
    for name, text in pairs:
        try:
            values[name], _ = read_yaml(text)
        except (yaml.YAMLError, ValueError):
            raise ParameterError(f"-p {name}: the value is not YAML; put strings in quotes.") from None
    return values
