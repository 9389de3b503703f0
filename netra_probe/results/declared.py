"""What an executed notebook declares of its cases: which checkers it asks for, and what may have a case skipped.

A run keeps its notebooks beside its recordings, so that a check line from which a checker was struck shows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from netra_probe import checkers
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.store import StoreChecker
from netra_probe.history.untrusted import UNDECODABLE

#: Checkers that a notebook drops where the target has none of their surfaces (``acts.applicable_checkers``).
_CONDITIONAL = frozenset((StoreChecker.id, ResourceChecker.id))


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One case: the ids of the checkers that it surely has, and whether it needs surfaces that may be missing."""

    checkers: frozenset[str]
    needs: bool


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    cells: list[_Cell] = []


def declared_cases(notebook: Path) -> dict[str, Declared]:
    """The cases that a notebook checks, by id; nothing where it cannot be read, or checks them in another way."""
    try:
        cells = msgspec.json.decode(notebook.read_bytes(), type=_Notebook).cells
    except (OSError, *UNDECODABLE):
        return {}
    found: dict[str, Declared] = {}
    for cell in cells:
        if cell.cell_type != "code":
            continue
        for case, declared in _checks(cell.source if isinstance(cell.source, str) else "".join(cell.source)):
            before = found.get(case, declared)
            found[case] = Declared(checkers=before.checkers & declared.checkers, needs=before.needs or declared.needs)
    return found


def _checks(source: str) -> Iterator[tuple[str, Declared]]:
    """Each ``….check("C4.2", canary(), …)`` in a cell; none in one that is no plain Python."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for call in calls:
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "check" and call.args):
            continue
        case = call.args[0]
        if isinstance(case, ast.Constant) and isinstance(case.value, str):
            ids = frozenset(id for argument in call.args[1:] for id in _checkers(argument))
            yield case.value, Declared(checkers=ids, needs=any(word.arg in ("needs", None) for word in call.keywords))


def _checkers(argument: ast.expr) -> Iterator[str]:
    """The ids of the checkers that an argument makes for certain."""
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name):
        made = getattr(checkers, argument.func.id, None)
        if isinstance(made, type) and issubclass(made, checkers.Checker):
            yield made.id
    elif isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Call):
        within = argument.value
        if isinstance(within.func, ast.Attribute) and within.func.attr == "applicable_checkers":
            for inner in within.args:
                yield from (id for id in _checkers(inner) if id not in _CONDITIONAL)
