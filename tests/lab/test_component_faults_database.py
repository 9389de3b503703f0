"""Each fault of DatabaseManager turns its case of E3 red, is triggered, and leaves the other case of its area alone."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from daily import one_in

from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.verdict import CaseResult, Verdict
from netra_probe.history import actions
from netra_probe.lab import known_faults
from netra_probe.lab.shared.faults import Kind

KIND: tuple[Kind, ...] = ("component",)


def claims() -> dict[str, list[str]]:
    """Fault → the cases that the notebook claims to be red with it."""
    found: dict[str, list[str]] = {}
    for case in SCENARIOS["E3"].declared:
        for fault in case.faults:
            found.setdefault(fault, []).append(case.id)
    return found


async def run_cell(source: str, namespace: dict[str, Any]) -> None:
    """Execute a cell as a notebook would."""
    compiled = compile(source, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(compiled, namespace)
    if inspect.iscoroutine(outcome):
        await outcome


async def area(
    letter: str, variables: dict[str, str], *, component: str = "", seconds: float = 30
) -> tuple[dict[str, CaseResult], str]:
    """Carry the cells of one area out with these variables; the verdicts, and what was observed.

    Arguments:
        component: the import path of another class.
        seconds: that each process may take.
    """
    path = next(Path(folder("notebooks")).glob("E3-*.ipynb"))
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    parameters, opening, *others = cells
    namespace: dict[str, Any] = {"display": lambda *shown: None, "__name__": "of_the_notebook"}
    await run_cell(parameters, namespace)
    await run_cell(opening, namespace)
    probe = namespace["probe"]
    namespace["scratch"]["seconds"] = seconds
    if component:
        probe.target = probe.target.model_copy(update={"components": {"DatabaseManager": component}})
    apart = probe.apart

    async def with_variables(*arguments: Any, **options: Any) -> Any:
        return await apart(*arguments, **options, variables=variables)

    probe.apart = with_variables
    checks = [number for number, cell in enumerate(others) if re.match(rf'probe\.check\("E3{letter}\.', cell)]
    first = next(n for n in range(checks[0] - 1, -2, -1) if n < 0 or others[n].startswith("probe.check"))
    try:
        for cell in others[first + 1 : checks[-1] + 1]:
            await run_cell(cell, namespace)
        told = [operation.detail for operation in probe.history if operation.action == actions.EXPECT]
        observed = [str(detail.get("observed", detail.get("undecided"))) for detail in told]
        return {case.id: case for case in probe.result().cases if case.was_run}, "\n".join(observed)
    finally:
        cleaned = await probe.close()
        assert cleaned.verdict is Verdict.PASS, cleaned.left


@pytest.mark.nightly  # by day nbval executes the notebook
@pytest.mark.parametrize("letter", "abcdefghij")
async def test_the_healthy_class_keeps_its_promises(letter: str) -> None:
    cases, _ = await area(letter, {})
    assert len(cases) == 2
    for case in cases.values():
        assert case.verdict is Verdict.PASS, case


@pytest.mark.parametrize("fault", one_in(6, [fault for fault in claims() if fault != "database-page-before-owner"]))
@pytest.mark.nightly
async def test_a_fault_turns_its_case_red(fault: str, tmp_path: Path) -> None:
    claimed = claims()[fault]
    cases, _ = await area(claimed[0][2], {"LAB_FAULTS": fault, "LAB_FAULT_COUNTS": str(tmp_path)})
    counts = [json.loads(file.read_text())[fault]["triggered"] for file in tmp_path.glob("*.json")]
    assert sum(counts) > 0, "it was not triggered"
    red = [id for id, case in cases.items() if case.verdict is Verdict.FAIL]
    assert red == claimed, {id: case for id, case in cases.items() if id in {*red, *claimed}}


STRANGE = """
import contextlib, time

class Raises:
    def __init__(self, url, **more):
        raise RuntimeError("no settings in " + url)

class Synchronous:
    def __init__(self, url):
        pass
    @contextlib.contextmanager
    def get_session(self, user_id=None):
        yield None

class Other:
    def __init__(self, settings, *, engine):
        pass

class Hangs:
    def __init__(self, url):
        time.sleep(600)
"""


@pytest.mark.parametrize(
    ("name", "verdict", "seen"),
    [
        ("Raises", Verdict.FAIL, "RuntimeError: no settings in"),
        ("Synchronous", Verdict.FAIL, "asynchronous context manager"),
        ("Other", Verdict.INCONCLUSIVE, "engine"),
        ("Hangs", Verdict.FAIL, "no return within 4 s"),
    ],
)
@pytest.mark.nightly
async def test_a_strange_class_is_evidence_in_time_and_the_next_case_goes_on(
    name: str, verdict: Verdict, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_database.py").write_text(STRANGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cases, observed = await area("c", {}, component=f"strange_database:{name}", seconds=4)
    assert [case.verdict for case in cases.values()] == [verdict, verdict], cases
    assert seen in observed and not re.search(r"://\w+:\w+@", observed), observed


def test_every_fault_is_claimed_and_no_two_cases_have_the_same() -> None:
    ours = {id for id, fault in known_faults(kinds=KIND).items() if id.startswith("database-")}
    assert ours == set(claims())
    sets = [frozenset(case.faults) for case in SCENARIOS["E3"].declared]
    assert all(sets) and len(set(sets)) == len(sets)
