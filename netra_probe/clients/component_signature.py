"""Importing a class by its path, and comparing its calls with those that are written down."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netra_probe.catalogue.components import Call, is_import_path


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something about a class that is not as its public calls are written down.

    Arguments:
        kind: ``import``, ``missing``, ``parameters`` (it does not take what it should) or ``needs`` (it wants more).
    """

    component: str
    call: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.component}{'.' + self.call if self.call else ''} {self.text}"


def imported(path: str) -> type[Any] | str:
    """The class at an import path, or one sentence on why there is none."""
    if not is_import_path(path):
        return "it is not written as package.module:Class"
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a stranger's module may do anything when it is imported
        return f"{type(error).__name__}: {said(error)}"
    return found if isinstance(found, type) else f"it is a {type(found).__name__} and no class"


def compare(name: str, found: type[Any], calls: Mapping[str, Call]) -> list[Difference]:
    differences = []
    for method, call in calls.items():
        member = found if method == "__init__" else getattr(found, method, None)
        if not callable(member):
            text = "is missing" if member is None else f"is a {type(member).__name__} and cannot be called"
            differences.append(Difference(component=name, call=method, kind="missing", text=text))
            continue
        signature = signature_of(member, bound=method == "__init__" or not _is_plain(found, method))
        if signature is None:
            continue
        lacking = [wanted for wanted in call.parameters if not accepts(signature, wanted)]
        extra = [] if call.is_open else [need for need in _needed(signature) if need not in call.parameters]
        taken = shown(signature)
        if lacking:
            text = f"takes {taken} instead of {call}"
            differences.append(Difference(component=name, call=method, kind="parameters", text=text))
        elif extra:
            text = f"needs also {', '.join(extra)}: it takes {taken} instead of {call}"
            differences.append(Difference(component=name, call=method, kind="needs", text=text))
    return differences


def _is_plain(found: type[Any], method: str) -> bool:
    """Whether a method is one of instances, whose first parameter is the instance."""
    return not isinstance(inspect.getattr_static(found, method), classmethod | staticmethod)


def signature_of(member: Any, *, bound: bool = True) -> inspect.Signature | None:
    try:
        signature = inspect.signature(member)
    except (TypeError, ValueError):
        return None
    if not bound:
        parameters = list(signature.parameters.values())
        if parameters and parameters[0].kind in (parameters[0].POSITIONAL_ONLY, parameters[0].POSITIONAL_OR_KEYWORD):
            signature = signature.replace(parameters=parameters[1:])
    return signature


def accepts(signature: inspect.Signature | None, name: str) -> bool:
    if signature is None:
        return True
    given = signature.parameters.get(name)
    if given is not None and given.kind not in (given.POSITIONAL_ONLY, given.VAR_POSITIONAL):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def _needed(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty and parameter.kind not in kinds
    ]


def shown(signature: inspect.Signature) -> str:
    """The parameters' names as one reads them; annotations and defaults of strangers say little and may say much."""
    told = []
    for parameter in signature.parameters.values():
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else stars
        optional = "?" if parameter.default is not parameter.empty else ""
        told.append(f"{stars}{parameter.name}{optional}")
    return f"({', '.join(told)})"


def said(error: BaseException) -> str:
    try:
        return str(error).splitlines()[0][:200] if str(error) else ""
    except Exception:
        return ""
