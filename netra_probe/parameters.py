"""Parameter files: one YAML per environment, readable by stock papermill, checked strictly here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml

from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.target import Target, explain

ENVIRONMENTS = ("lab", "test", "development", "staging", "production")
PROJECT = Path(__file__).resolve().parent.parent
#: Where runs are kept instead of ``outputs/``; the test session points it to a temporary folder.
OUTPUT_VARIABLE = "NETRA_PROBE_OUTPUTS"


class Parameters(pydantic.BaseModel):
    """What a notebook is run with.

    Arguments:
        environment: the name under which results are kept.
        target: the deployment; empty means the lab, or the target of the environment's own file.
        users: how many users take part.
        rounds: how often each case repeats its act.
        seed: of everything random; the same seed repeats a run.
        deadline: seconds that one run of an agent may take before it counts as silent.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    environment: Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z0-9-]*$")]
    target: dict[str, Any] = {}
    users: Annotated[int, pydantic.Field(ge=2, le=500)] = 3
    rounds: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 4
    seed: int = 7
    deadline: Annotated[float, pydantic.Field(gt=0, le=600)] = 10.0


def folder(name: str) -> Path:
    """A top-level folder of the project: that of the current directory if it is one, else that of the installation."""
    if name == "outputs" and os.environ.get(OUTPUT_VARIABLE):
        return Path(os.environ[OUTPUT_VARIABLE])
    here = Path.cwd()
    for root in (here, *here.parents, PROJECT):
        if (root / "notebooks").is_dir() and (root / "parameters").is_dir():
            return root / name
    return PROJECT / name


def environment_file(environment: str) -> Path:
    """The parameter file of an environment.

    Raises ParameterError with the nearest known name.
    """
    path = folder("parameters") / f"{environment}.yaml"
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.yaml")]
        raise ParameterError(
            f'unknown environment "{environment}": no {path.name} in {path.parent}; {did_you_mean(environment, known)}'
        )
    return path


def read_parameters(path: Path, overrides: dict[str, Any] | None = None) -> Parameters:
    """Read and validate one parameter file; ``overrides`` (``-p name value``) win.

    Raises ParameterError naming file, line and key, with the nearest right key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}); give an existing parameter file.") from None
    try:
        values = yaml.safe_load(text)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ParameterError(f"{path}{line}: not YAML; {getattr(error, 'problem', 'check the indentation')}.") from None
    if not isinstance(values, dict):
        raise ParameterError(f'{path}: holds no parameters; write at least "environment: {path.stem}".')
    for name in overrides or {}:
        if name not in Parameters.model_fields:
            raise ParameterError(f'unknown parameter "{name}" (-p); {did_you_mean(name, Parameters.model_fields)}')
    values = {**values, **(overrides or {})}
    try:
        parameters = Parameters.model_validate(values)
    except pydantic.ValidationError as error:
        place = _line(tree, error.errors()[0]["loc"])
        raise ParameterError(f"{path}{place}: {explain(error, Parameters)}") from None
    if "replay" in parameters.target:
        if len(parameters.target) > 1:
            raise ParameterError(
                f'{path}: "target.replay" stands alone, a recording has no addresses; drop the others.'
            )
    elif parameters.target:
        try:
            Target.model_validate(parameters.target)
        except pydantic.ValidationError as error:
            place = _line(tree, ("target", *error.errors()[0]["loc"]))
            raise ParameterError(f"{path}{place}: {explain(error, Target, prefix='target')}") from None
    elif parameters.environment != "lab":
        raise ParameterError(f'{path}: "target" is missing; only the lab starts itself, say where {path.stem} is.')
    return parameters


def _line(node: yaml.Node | None, path: tuple[str | int, ...]) -> str:
    """``, line 7`` of the deepest node on the path that exists in the file."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return f", line {line + 1}" if line is not None else ""
