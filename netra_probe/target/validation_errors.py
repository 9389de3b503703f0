"""What is wrong with a parameter, as one sentence: the key, what is the matter with it, and the nearest right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pydantic

from netra_probe.errors import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The first problem of a validation.

    Arguments:
        path: keys and positions down to the culprit; of a missing key down to where it should be.
        text: what is wrong and what to do, with the key in it; no input value is repeated.
    """

    path: tuple[str | int, ...]
    text: str


def first_problem(error: pydantic.ValidationError, model: type[pydantic.BaseModel], *, prefix: str = "") -> Problem:
    """The problem that explains most: an unknown key before a missing one, for the one is often the other misspelt."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]
    path: tuple[str | int, ...] = ((prefix,) if prefix else ()) + tuple(problem["loc"])
    shown = ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        return Problem(path=path, text=f'unknown key "{shown}"; {did_you_mean(str(problem["loc"][-1]), known)}')
    if problem["type"] == "missing":
        return Problem(path=path, text=f'"{shown}" is missing; add it.')
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    # A problem of several keys together names them itself.
    named = f'"{shown}" ' if problem["loc"] else f'"{prefix}" ' if prefix else ""
    return Problem(path=path, text=f"{named}{message[0].lower()}{message[1:]}.")


def explain(error: pydantic.ValidationError, model: type[pydantic.BaseModel], *, prefix: str = "") -> str:
    """The first problem of a validation as one sentence with its remedy; no input value is repeated."""
    return first_problem(error, model, prefix=prefix).text


def _fields_at(model: type[pydantic.BaseModel], path: Sequence[str | int]) -> Mapping[str, Any]:
    """The fields of the model that stands at this place inside of another."""
    for part in path:
        field = model.model_fields.get(str(part))
        nested = next(_models(field.annotation), None) if field is not None else None
        model = nested or model
    return model.model_fields


def _models(annotation: Any) -> Any:
    """The models that a type mentions: ``tuple[Account, ...]`` mentions ``Account``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
