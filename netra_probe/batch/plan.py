"""What a run sets out to do, as a value, as ``run.json`` notes it, and as it is taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netra_probe.batch.notebooks import Notebook, all_notebooks
from netra_probe.catalogue.folders import folder
from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.results.results import PLAN, read_plan
from netra_probe.target.parameters import Parameters

#: Seconds one cell may take before its notebook is given up.
CELL_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run, on what, how.

    Arguments:
        notebooks: in the order in which results list them.
        parameters: validated.
        extra, set: parameters of single notebooks, and names of common ones, that were set by ``-p``.
        faults, fault_modules: for the lab that the run starts.
        jobs: notebooks at a time.
        cell_seconds: how long one cell may take.
        output: the run directory; a fresh one under ``outputs/<environment>/`` when left out.
        variables: for the kernels' environment; naming a lab here keeps the run from starting one.
    """

    notebooks: Sequence[Notebook]
    parameters: Parameters
    extra: dict[str, Any] = field(default_factory=dict)
    set: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    fault_modules: tuple[Path, ...] = ()
    jobs: int = 2
    cell_seconds: int = CELL_SECONDS
    output: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def needs_lab(self) -> bool:
        """Whether a lab has to be started for it."""
        return not self.parameters.target


def parameters_of_each(plan: Plan) -> dict[str, dict[str, Any]]:
    """Notebook id → the parameters that it takes, with their values.

    Raises ParameterError for a notebook that takes none, and for a parameter that no notebook takes.
    """
    taken = {notebook.id: notebook.parameters for notebook in plan.notebooks}
    everything = frozenset().union(*taken.values()) if taken else frozenset()
    for name in (*plan.extra, *plan.set):
        if name not in everything:
            raise ParameterError(f'unknown parameter "{name}" (-p); {did_you_mean(name, everything)}')
    for name, value in plan.extra.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ParameterError(f"-p {name}: the value is a {type(value).__name__}; put it in quotes.") from None
    values = {**plan.parameters.model_dump(), **plan.extra}
    return {id: {name: values[name] for name in sorted(names & values.keys())} for id, names in taken.items()}


def noted(plan: Plan) -> dict[str, Any]:
    """What ``run.json`` says of a plan, enough to take it up again: secrets as the references that were given."""
    return {
        "environment": plan.parameters.environment,
        "seed": plan.parameters.seed,
        "users": plan.parameters.users,
        "faults": list(plan.faults),
        "parameters": plan.parameters.model_dump(mode="json"),
        "extra": plan.extra,
        "set": list(plan.set),
        "fault_modules": [str(path) for path in plan.fault_modules],
        "cell_seconds": plan.cell_seconds,
    }


def planned(directory: Path, *, jobs: int = 2) -> Plan:
    """The plan of a run that has ended early, as its directory notes it.

    Raises ParameterError when it cannot be taken up again, saying why; nothing is changed.
    """
    record = read_plan(directory)
    known = {notebook.path.name: notebook for notebook in all_notebooks()}
    notebooks = []
    for entry in record["scenarios"]:
        if entry["notebook"] not in known:
            raise ParameterError(
                f"{directory / PLAN}: {entry['notebook']} is not in {folder('notebooks')} any more; restore it."
            )
        notebooks.append(known[entry["notebook"]])
    try:
        return Plan(
            notebooks=notebooks,
            parameters=Parameters.model_validate(record["parameters"]),
            extra=dict(_mapping(record["extra"])),
            set=tuple(record["set"]),
            faults=tuple(record["faults"]),
            fault_modules=tuple(Path(path) for path in record["fault_modules"]),
            cell_seconds=int(record["cell_seconds"]),
            jobs=jobs,
            output=directory,
        )
    except KeyError as missing:
        raise ParameterError(
            f'{directory / PLAN}: does not say "{missing.args[0]}": an older netra-probe has run it; run again instead.'
        ) from None
    except (ValueError, TypeError):
        raise ParameterError(f"{directory / PLAN}: damaged; restore it, or run again.") from None


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value
