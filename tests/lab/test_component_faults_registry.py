"""The registry notebook: each fault turns its case red and no case of another area, and no case without a fault."""

from __future__ import annotations

import ast
import inspect
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cases_at_once import all_cases
from component_cases import perform_case
from composing import Composed
from daily import one_in
from performing import perform, verdicts

from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.agent_acts import CLASSES
from netra_probe.clients.component_process import carry_out
from netra_probe.lab.backend.agent_registry import AgentInstanceFactory, AgentRegistry
from netra_probe.lab.shared.faults import known_faults
from netra_probe.target.lab import as_target

CLAIMED = {fault: case.id for case in SCENARIOS["E2"].declared for fault in case.faults}
FAULTS = {id: fault for id, fault in known_faults(kinds=("component",)).items() if id.startswith("registry-")}
OF_SERVICES = tuple(id for id, fault in FAULTS.items() if fault.service == "backend")
COMPONENTS = {name: f"netra_probe.lab.composed:{name}" for name in CLASSES}
CELLS: list[dict[str, Any]] = json.loads((PROJECT / "notebooks" / "E2-agent-registry.ipynb").read_text("utf-8"))[
    "cells"
]


def source_of_cases() -> tuple[str, dict[str, str]]:
    """What comes before the cases, without what asks a deployment; and the code of those that act on classes."""
    header, cases, case = "", dict[str, str](), ""
    for cell in CELLS:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            case = source.split()[1] if source.startswith("## E2") else case
        elif not case:
            tree = ast.parse(source)
            tree.body = [one for one in tree.body if not any(isinstance(node, ast.Await) for node in ast.walk(one))]
            tree.body = [one for one in tree.body if "probe.users" not in ast.unparse(one)]
            header += ast.unparse(tree) + "\n"
        elif "probe.apart" in source:
            cases[case] = source
    return header, cases


async def found_with(fault: str, counts: Path) -> dict[str, list[str]]:
    """What does not hold with a fault, by case."""
    header, cells = source_of_cases()
    perform_all = partial(all_cases, names=list(CLASSES), cells=cells, header=header)
    variables = {"LAB_FAULTS": fault, "LAB_FAULT_COUNTS": str(counts)}
    seen = await carry_out(perform_all, COMPONENTS, variables=variables, seconds=60)
    assert seen, seen
    found: dict[str, list[str]] = seen.value
    return found


@pytest.fixture(autouse=True)
def modules_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside this module can be imported by the processes that perform the cases."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_fault_is_claimed_by_one_case_and_every_case_by_its_own() -> None:
    assert set(CLAIMED) == set(FAULTS)
    assert set(CLAIMED.values()) == set(SCENARIOS["E2"].cases)
    assert len(CLAIMED) == sum(len(case.faults) for case in SCENARIOS["E2"].declared)


@pytest.mark.nightly  # by day nbval executes the notebook
async def test_the_healthy_classes_keep_all_promises(tmp_path: Path) -> None:
    found = await found_with("", tmp_path)
    assert len(found) == 15 and not any(found.values()), found


@pytest.mark.parametrize("fault", one_in(5, [id for id in FAULTS if id not in OF_SERVICES]))
async def test_a_fault_turns_its_case_red_and_no_other(fault: str, tmp_path: Path) -> None:
    found = await found_with(fault, tmp_path)
    red = {case: broken for case, broken in found.items() if broken}
    assert [*red] == [CLAIMED[fault]], red
    counts = [json.loads(file.read_text())[fault] for file in tmp_path.glob("*.json")]
    assert sum(count["triggered"] for count in counts) > 0, counts


@pytest.mark.parametrize(
    "faults",
    [
        ("registry-tools-silent", "registry-stop-unheard", "registry-health-remembered"),
        ("registry-task-on-class", "registry-old-connection"),
    ],
)
@pytest.mark.nightly
async def test_faults_of_running_services_turn_their_cases_red(compose: Composed, faults: tuple[str, ...]) -> None:
    lab = compose(faults)
    over_the_wire = {CLAIMED[fault] for fault in OF_SERVICES}
    found = verdicts(await perform("E2", only=over_the_wire, target=as_target(lab)))
    red = {CLAIMED[fault] for fault in faults}
    assert found == {case: Verdict.FAIL if case in red else Verdict.PASS for case in over_the_wire}
    counts = lab.status()["faults"]
    assert all(counts[fault]["triggered"] for fault in faults), counts


STRANGE = ("E2b.1", "E2f.1")


@pytest.mark.parametrize("name", ["Plain", "Synchronous", "NeedsMore", "Raising", "Endless"])
@pytest.mark.nightly
async def test_somebody_elses_class_is_evidence_whatever_it_does(name: str, tmp_path: Path) -> None:
    components = COMPONENTS | {"AgentRegistry": f"strange_registries:{name}"}
    judged = {case: await perform_case(case, tmp_path, components=components, deadline=3.0) for case in STRANGE}
    told = " ".join(str(result) for result in judged.values())
    verdict = {case: result.verdict for case, result in judged.items()}
    match name:
        case "Plain":  # a method that it lacks is no promise of its
            assert verdict == {"E2b.1": Verdict.PASS, "E2f.1": Verdict.INCONCLUSIVE} and "has no launch" in told
        case "Synchronous":
            assert verdict["E2b.1"] is Verdict.FAIL and "TypeError" in told
        case "NeedsMore":
            assert {*verdict.values()} == {Verdict.INCONCLUSIVE} and "websocket_manager" in told
        case "Raising":
            assert {*verdict.values()} == {Verdict.FAIL} and "OSError: no place for a registry" in told
        case "Endless":
            assert verdict["E2b.1"] is Verdict.FAIL and "no return within 3 s" in told


async def test_without_the_classes_their_cases_do_not_apply(tmp_path: Path) -> None:
    result = await perform_case("E2a.1", tmp_path, components={})
    assert result.verdict is Verdict.NOT_APPLICABLE and "components" in result.reason


def test_the_notebook_quotes_what_the_classes_promise() -> None:
    def words(text: str) -> str:
        return " ".join(re.sub(r"[*`]", "", text.replace("’", "'")).split())

    promised = words(f"{inspect.getdoc(AgentRegistry)} {inspect.getdoc(AgentInstanceFactory)}")
    quoted = re.findall(r"^> (.+)$", "\n".join("".join(cell["source"]) for cell in CELLS), re.MULTILINE)
    assert len(quoted) == 20
    sentences = [sentence for quote in quoted for sentence in re.split(r"(?<=\.) ", words(quote))]
    assert [sentence for sentence in sentences if sentence not in promised] == []
