"""What each case of a notebook needs and asks for: its workloads, and what its last refresh on the lab counted."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netra_probe.batch.notebooks import Notebook
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.results.amounts import Amounts


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a notebook.

    Arguments:
        surfaces: what it is not applicable without.
        workloads: names of the workloads that are run for it.
        amounts: what it makes and tries.
    """

    id: str
    surfaces: frozenset[str]
    workloads: tuple[str, ...]
    amounts: Amounts


def read_cases(notebook: Notebook, *, users: int, rounds: int) -> list[Case]:
    """The cases of a notebook as they would be run with so many users and rounds.

    What was counted is for the notebook's own parameters. Its first case registers the users; a case that names
    ``rounds`` is taken to repeat all that it does.
    """
    own: dict[str, Any] = {}
    counted = {case.id: Amounts(**case.amounts) for case in SCENARIOS[notebook.id].declared}
    cases: list[Case] = []
    workloads: list[str] = []
    repeats = False
    named = _named(notebook)
    for node in _nodes(notebook):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if not own:
                pairs = zip(names, values, strict=True)
                own = {ast.unparse(name): value.value for name, value in pairs if isinstance(value, ast.Constant)}
            case ast.Name(id="rounds"):
                repeats = True
            case ast.Attribute(value=ast.Name(id="workloads"), attr=name):
                workloads.append(name)
            case ast.Call(func=ast.Attribute(attr="check"), args=[ast.Constant(value=str(id)), *_], keywords=words):
                surfaces = next((_literal(word.value, named) for word in words if word.arg == "needs"), ())
                more = users - own.get("users", users)
                factor = users / (users - more) * (rounds / own.get("rounds", rounds) if repeats else 1)
                amounts = counted.get(id, Amounts()).scaled(factor, accounts=0 if cases else more)
                cases.append(Case(id=id, surfaces=frozenset(surfaces), workloads=tuple(workloads), amounts=amounts))
                workloads, repeats = [], False
    return cases


def _named(notebook: Notebook) -> dict[str, ast.expr]:
    """What stands behind the names that cells give to values, outside of functions."""
    found = {}
    for cell in _cells(notebook):
        for statement in cell.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] = value
    return found


def _literal(node: ast.expr, named: Mapping[str, ast.expr]) -> Sequence[str]:
    """A list of texts, where it is written down, here or under a name; nothing where it is computed."""
    if isinstance(node, ast.Name):
        node = named.get(node.id, node)
    try:
        return list(ast.literal_eval(node))
    except ValueError:
        return ()


def _cells(notebook: Notebook) -> Iterator[ast.Module]:
    for cell in notebook.read().cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):  # magics and the like say nothing about cases
                yield ast.parse(cell.source)


def _nodes(notebook: Notebook) -> Iterable[ast.AST]:
    """Every node of the notebook's code, in order; a call after its arguments."""
    for cell in _cells(notebook):
        nodes = [node for node in ast.walk(cell) if isinstance(node, ast.stmt | ast.expr)]
        yield from sorted(nodes, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))


def total(cases: Iterable[Case]) -> Amounts:
    """What all cases together ask for, with the rows that a deployment will have written about it."""
    return sum((case.amounts for case in cases), Amounts()).with_rows()
