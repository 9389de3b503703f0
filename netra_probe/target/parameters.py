"""Parameter files: one YAML per environment, readable by stock papermill, checked strictly here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pydantic
import yaml

from netra_probe.catalogue.folders import folder
from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.history.redaction import SHORTEST
from netra_probe.target.deployment import Target, first_problem, with_default_mode
from netra_probe.target.secret_references import look_up, problem_of_url

ENVIRONMENTS = ("lab", "test", "development", "staging", "production")

#: What parameters may hold at most: values, with aliases followed, and levels of nesting.
MOST_VALUES, DEEPEST = 100_000, 100

#: Characters of a parameter file at most; a device has no end.
LONGEST_FILE = 1_000_000

#: Keys and positions that lead to a value.
KeyPath: TypeAlias = tuple[str | int, ...]


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
    users: Annotated[int, pydantic.Field(ge=2, le=500, strict=True)] = 3
    rounds: Annotated[int, pydantic.Field(ge=1, le=10_000, strict=True)] = 4
    seed: pydantic.StrictInt = 7
    deadline: Annotated[float, pydantic.Field(gt=0, le=600, strict=True)] = 10.0


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


@dataclass(frozen=True, kw_only=True)
class ParameterFile:
    """A parameter file as it was read: its values, and where in it each of them stands."""

    path: Path
    values: dict[str, Any]
    tree: yaml.Node | None

    @staticmethod
    def read(path: Path) -> ParameterFile:
        """Raises ParameterError when it cannot be read, is no YAML, or says something twice."""
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(LONGEST_FILE + 1)
        except UnicodeDecodeError:
            raise ParameterError(f"{path}: not text in UTF-8; give an existing parameter file.") from None
        except OSError as error:
            raise ParameterError(
                f"{path}: cannot be read ({error.strerror}); give an existing parameter file."
            ) from None
        if len(text) > LONGEST_FILE:
            raise ParameterError(f"{path}: holds more than parameters do; give an existing parameter file.")
        try:
            values, tree = read_yaml(text)
        except (yaml.YAMLError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise ParameterError(
                f"{path}{line}: not YAML; {getattr(error, 'problem', None) or 'check the indentation'}."
            ) from None
        if not isinstance(values, dict):
            raise ParameterError(f'{path}: holds no parameters; write at least "environment: {path.stem}".')
        if (twice := _key_given_twice(tree)) is not None:
            raise ParameterError(
                f'{path}, line {twice.start_mark.line + 1}: "{twice.value}" is given twice; keep one of them.'
            )
        return ParameterFile(path=path, values=values, tree=tree)

    def place(self, path: KeyPath) -> str:
        """``staging.yaml, line 7``: the deepest node on the path that exists in the file."""
        return f"{self.path}{_line(self.tree, path)}"

    def holds(self, path: KeyPath, value: object) -> bool:
        """Whether this value is what the file has at that place."""
        node: Any = self.values
        for part in path:
            try:
                node = node[part]
            except (LookupError, TypeError):
                return False
        return bool(node == value)


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """The values of a YAML text, and where they stand in it.

    Raises YAMLError or ValueError where it is none, and where it would take more than its length to go through: nested
    without end, referring to itself, or repeating itself through aliases of aliases.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _count_values(tree, (), {})
        return yaml.safe_load(text), tree
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from None


def _count_values(node: yaml.Node, above: tuple[int, ...], known: dict[int, int]) -> int:
    """How many values a node stands for once aliases are followed."""
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="it refers to itself", problem_mark=node.start_mark)
    if id(node) not in known:
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inside = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        known[id(node)] = 1 + sum(_count_values(part, (*above, id(node)), known) for part in inside)
        if known[id(node)] > MOST_VALUES or len(above) > DEEPEST:
            problem = "it holds too much" if len(above) <= DEEPEST else "it is nested too deeply"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return known[id(node)]


def read_parameters(path: Path, overrides: dict[str, Any] | None = None, *, resolve: bool = False) -> Parameters:
    """Read and validate one parameter file; ``overrides`` (``-p name value``) win.

    Arguments:
        resolve: look also whether there is something behind each reference to a secret.

    Raises ParameterError naming file, line and key, with the nearest right key.
    """
    file = ParameterFile.read(path)
    given = overrides or {}
    for name in given:
        if name not in Parameters.model_fields:
            raise ParameterError(f'unknown parameter "{name}" (-p); {did_you_mean(name, Parameters.model_fields)}')

    def place(where: KeyPath) -> str:
        return f"-p {where[0]}" if where and where[0] in given else file.place(where)

    try:
        parameters = Parameters.model_validate({**file.values, **given})
    except pydantic.ValidationError as error:
        problem = first_problem(error, Parameters)
        raise ParameterError(f"{place(problem.path)}: {problem.text}") from None
    if "replay" in parameters.target:
        _check_replay(parameters.target, place)
    elif parameters.target:
        target = validated(parameters.target, parameters.environment, place)
        if resolve:
            check_references(target, place)
    elif parameters.environment != "lab":
        raise ParameterError(f'{path}: "target" is missing; only the lab starts itself, say where {path.stem} is.')
    return parameters


def validated(values: Mapping[str, Any], environment: str, place: Callable[[KeyPath], str]) -> Target:
    """The target that a mapping describes; in production it is only looked at unless the mapping says otherwise.

    Arguments:
        place: where a key stands, for the error.
    """
    try:
        return Target.model_validate(with_default_mode(dict(values), environment))
    except pydantic.ValidationError as error:
        problem = first_problem(error, Target, prefix="target")
        raise ParameterError(f"{place(problem.path)}: {problem.text}") from None


def check_references(target: Target, place: Callable[[KeyPath], str]) -> None:
    """Find out, before anything is sent, whether every secret can be had and every certificate be used.

    Raises ParameterError that names the place, the key and what is missing.
    """
    for keys, reference in target.references():
        where: KeyPath = ("target", *keys)
        name = ".".join(map(str, where))
        try:
            value = look_up(reference)
        except LookupError as error:
            raise ParameterError(f'{place(where)}: "{name}" cannot be resolved: {error.args[0]}') from None
        if len(value.reveal()) < SHORTEST:
            raise ParameterError(
                f'{place(where)}: "{name}" is too short to be kept out of recordings; '
                f"a secret has at least {SHORTEST} characters."
            )
        if problem := problem_of_url(name.removeprefix("target."), value.reveal()):
            raise ParameterError(f'{place(where)}: what is behind "{name}" {problem}.')
    try:
        target.ssl_context()
    except ParameterError as error:
        key = str(error).partition(":")[0].partition(".")[2]
        raise ParameterError(f"{place(('target', key))}: {error}") from None


def target_of(environment: str, values: Mapping[str, Any]) -> Target:
    """The target that a notebook was given, by stock papermill or by hand, ready to use.

    What stands in the environment's own file in the same words is blamed on the file and its line.

    Raises ParameterError as ``read_parameters`` does.
    """
    file: ParameterFile | None = None
    known = folder("parameters") / f"{environment}.yaml"
    if known.is_file():
        file = ParameterFile.read(known)

    def place(where: KeyPath) -> str:
        at: Any = {"target": values}
        reached: list[str | int] = []
        for part in where:
            try:
                at = at[part]
            except (LookupError, TypeError):
                break
            reached.append(part)
        inside = file is not None and len(reached) > 1 and file.holds(tuple(reached), at)
        return file.place(where) if file is not None and inside else f"environment {environment}"

    target = validated(values, environment, place)
    check_references(target, place)
    return target


def _check_replay(target: Mapping[str, Any], place: Callable[[KeyPath], str]) -> None:
    where = place(("target", "replay"))
    if len(target) > 1:
        raise ParameterError(f'{where}: "target.replay" stands alone, a recording has no addresses; drop the others.')
    if not isinstance(target["replay"], str):
        raise ParameterError(f'{where}: "target.replay" is not the path of a recorded history.')


def _key_given_twice(node: yaml.Node | None) -> yaml.ScalarNode | None:
    """The second of two equal keys in one mapping: YAML takes the last, which nobody means."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.value != "<<":
                    return key
                seen.add(key.value)
            if (inner := _key_given_twice(value)) is not None:
                return inner
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if (inner := _key_given_twice(value)) is not None:
                return inner
    return None


def _line(node: yaml.Node | None, path: KeyPath) -> str:
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
