"""Reading notebooks: what each case needs, and how much it asks for, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netra_probe.batch.notebooks import read_notebook
from netra_probe.doctor.acts import Amounts, amounts_of

#: What verbs of users and investigations ask for, each time.
VERBS: Mapping[str, Amounts] = {
    "ask": Amounts(messages=1),
    "connect": Amounts(sockets=1),
    "new_thread": Amounts(requests=1),
    "another_session": Amounts(requests=1),
}
#: Rows that the lab writes for an account (its session, profile and audit) and for a run (messages, steps, tools, …).
ROWS_PER_ACCOUNT, ROWS_PER_MESSAGE = 5, 10
#: Verbs that need a socket; of these, those that need an answered run.
SOCKET_VERBS = frozenset({"ask", "connect", "sockets", "until_event", "cut"})
RUN_VERBS = frozenset({"ask", "until_event"})


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a notebook.

    Arguments:
        surfaces: what it is not applicable without.
        checkers: names of the checkers that judge it.
        acts, verbs: what is done for it.
        amounts: what that asks for.
    """

    id: str
    surfaces: frozenset[str]
    checkers: frozenset[str]
    acts: tuple[str, ...]
    verbs: frozenset[str]
    amounts: Amounts


@dataclass
class _Reader(ast.NodeVisitor):
    """Goes through a notebook statement by statement, with what its names amount to."""

    values: dict[str, int]
    cases: list[Case] = field(default_factory=list)
    times: int = 1
    acts: list[str] = field(default_factory=list)
    verbs: set[str] = field(default_factory=set)
    amounts: Amounts = field(default_factory=Amounts)
    #: Users that the investigation begins with.
    users: int = 3

    def visit_For(self, node: ast.For) -> None:
        self._repeat(node.iter, node.body)

    visit_AsyncFor = visit_For  # type: ignore[assignment]

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._repeat(node.generators[0].iter, [node.elt])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._repeat(node.generators[0].iter, [node.elt])

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        size = self.size(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and (size is not None or target.id not in self.values):
                value = size if size is not None else self.number(node.value)
                if value is not None:
                    self.values[target.id] = value
            elif isinstance(target, ast.Tuple) and size is not None:
                named = [one for one in target.elts if not isinstance(one, ast.Starred)]
                for one in target.elts:
                    if isinstance(one, ast.Starred) and isinstance(one.value, ast.Name):
                        self.values[one.value.id] = max(0, size - len(named))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "investigate":
            given = next((word.value for word in node.keywords if word.arg == "users"), None)
            self.users = (self.number(given) if given is not None else None) or self.users
            self.amounts += Amounts(accounts=self.users)
        elif isinstance(owner, ast.Name) and owner.id == "workloads":
            self.acts.append(name)
            self.amounts += amounts_of(name) * self.times
        elif name == "recruit" and node.args:
            self.verbs.add(name)
            self.amounts += Amounts(accounts=(self.number(node.args[0]) or 0) * self.times)
        elif name == "sockets":
            self.verbs.add(name)
            size = self.size(node.args[0]) if node.args else self.users
            self.amounts += Amounts(sockets=(size or self.users) * self.times)
        elif name == "check":
            self._check(node)
        elif name in VERBS or name in SOCKET_VERBS or name in ("look", "gauge", "component"):
            self.verbs.add(name)
            self.amounts += VERBS.get(name, Amounts()) * self.times

    def _repeat(self, over: ast.expr, body: Sequence[ast.AST]) -> None:
        self.visit(over)
        size = self.size(over)
        before, self.times = self.times, self.times * (1 if size is None else size)
        for node in body:
            self.visit(node)
        self.times = before

    def _check(self, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            return
        surfaces = next((word.value for word in node.keywords if word.arg == "needs"), None)
        needed = surfaces.elts if isinstance(surfaces, ast.List | ast.Tuple | ast.Set) else []
        called = [argument.func for argument in node.args[1:] if isinstance(argument, ast.Call)]
        checkers = [function.id for function in called if isinstance(function, ast.Name)]
        self.cases.append(
            Case(
                id=first.value,
                surfaces=frozenset(str(one.value) for one in needed if isinstance(one, ast.Constant)),
                checkers=frozenset(checkers),
                acts=tuple(self.acts),
                verbs=frozenset(self.verbs),
                amounts=self.amounts,
            )
        )
        self.acts, self.verbs, self.amounts = [], set(), Amounts()

    # Sizes and numbers

    def size(self, node: ast.expr) -> int | None:
        """How many things there are in something, as far as can be told."""
        if isinstance(node, ast.Await):
            return self.size(node.value)
        if isinstance(node, ast.Name):
            return self.values.get(node.id)
        if isinstance(node, ast.Attribute) and node.attr == "users":
            return self.users
        if isinstance(node, ast.List | ast.Tuple):
            sizes = [self.size(one.value) if isinstance(one, ast.Starred) else 1 for one in node.elts]
            return sum(1 if size is None else size for size in sizes)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            whole, upper = self.size(node.value), node.slice.upper
            most = self.number(upper) if upper is not None else None
            return whole if most is None or whole is None else min(whole, most)
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("range", "recruit") and node.args:
                return self.number(node.args[-1] if name == "range" and len(node.args) == 2 else node.args[0])
            if name in ("enumerate", "list", "tuple", "sorted") and node.args:
                return self.size(node.args[0])
        return None

    def number(self, node: ast.expr) -> int | None:
        """What a simple expression over the parameters comes to."""
        if isinstance(node, ast.Constant):
            return int(node.value) if isinstance(node.value, int | float) else None
        if isinstance(node, ast.Name):
            return self.values.get(node.id)
        if isinstance(node, ast.BinOp):
            left, right = self.number(node.left), self.number(node.right)
            if left is None or right is None:
                return None
            done: dict[type[ast.operator], int] = {
                ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right,
                ast.FloorDiv: left // right if right else 0,
            }  # fmt: skip
            return done.get(type(node.op))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "len" and node.args:
                return self.size(node.args[0])
            numbers = [self.number(one) for one in node.args]
            known = [one for one in numbers if one is not None]
            if node.func.id in ("max", "min") and known:
                return max(known) if node.func.id == "max" else min(known)
        return None


def read_cases(notebook: Path, values: Mapping[str, Any]) -> list[Case]:
    """The cases of a notebook, with the parameters that it would be run with.

    What follows the last check belongs to no case and is counted with it.
    """
    document = read_notebook(notebook)
    numbers = {name: int(value) for name, value in values.items() if isinstance(value, int | float)}
    reader = _Reader(values=dict(numbers), users=numbers.get("users", 3))
    for cell in document.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # magics and the like say nothing about cases
            continue
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            _learn(tree, reader, numbers)
        else:
            reader.visit(tree)
    return reader.cases


def _learn(tree: ast.Module, reader: _Reader, given: Mapping[str, int]) -> None:
    """The notebook's own defaults count where nothing else is said."""
    for node in tree.body:
        for names, values in _assigned(node):
            for name, value in zip(names, values, strict=False):
                if isinstance(value, ast.Constant) and isinstance(value.value, int | float) and name not in given:
                    reader.values[name] = int(value.value)
                    reader.users = reader.values.get("users", reader.users)


def _assigned(node: ast.stmt) -> Iterable[tuple[list[str], list[ast.expr]]]:
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield [target.id], [node.value]
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield [getattr(one, "id", "") for one in target.elts], list(node.value.elts)


def total(cases: Iterable[Case]) -> Amounts:
    """What all cases together ask for, with the rows that a deployment will have written about it."""
    amounts = Amounts()
    for case in cases:
        amounts += case.amounts
    return amounts + Amounts(rows=ROWS_PER_ACCOUNT * amounts.accounts + ROWS_PER_MESSAGE * amounts.messages)
