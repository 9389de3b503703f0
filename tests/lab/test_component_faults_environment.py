"""The environment notebook: each of its cases is red on its faults, and copes with whatever class is named."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from component_cases import of_classes, perform_case
from composing import Composed
from daily import one_in
from performing import perform, verdicts

from netra_probe import workloads
from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers import promises
from netra_probe.checkers.verdict import Verdict
from netra_probe.lab.shared.faults import known_faults
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment
from netra_probe.target.lab import as_target

CLAIMED = {fault: case.id for case in SCENARIOS["E1"].declared for fault in case.faults}
OF_CLASS = {id: fault for id, fault in known_faults(kinds=("component",)).items() if id.startswith("environment-")}
OF_SERVICES = tuple(id for id, fault in OF_CLASS.items() if fault.service == "backend")


@pytest.fixture(autouse=True)
def classes_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside this module can be imported by the processes of a case."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_fault_is_claimed_by_one_case_and_every_case_by_its_own() -> None:
    assert set(CLAIMED) == set(OF_CLASS)
    assert set(CLAIMED.values()) == set(SCENARIOS["E1"].cases)
    assert len(CLAIMED) == sum(len(case.faults) for case in SCENARIOS["E1"].declared)


@pytest.mark.parametrize("fault", one_in(5, [id for id in OF_CLASS if id not in OF_SERVICES]))
@pytest.mark.nightly
async def test_a_fault_turns_its_case_red_and_another_area_stays_green(fault: str, tmp_path: Path) -> None:
    case = CLAIMED[fault]
    broken = {"IsolatedEnvironment": f"faulty_components:IsolatedEnvironment__{fault.replace('-', '_')}"}
    result = await perform_case(case, tmp_path, components=broken)
    assert result.verdict is Verdict.FAIL, result
    neighbour = "E1j.1" if case[2] != "j" else "E1c.2"
    assert (await perform_case(neighbour, tmp_path, components=broken)).verdict is Verdict.PASS


@pytest.mark.nightly
async def test_faults_of_running_services_turn_their_cases_red(compose: Composed) -> None:
    lab = compose(OF_SERVICES)
    found = verdicts(await perform("E1", only={"E1a.1", "E1i.1", "E1h.1"}, target=as_target(lab)))
    assert found == {"E1a.1": Verdict.FAIL, "E1i.1": Verdict.FAIL, "E1h.1": Verdict.PASS}
    assert all(lab.status()["faults"][fault]["triggered"] for fault in OF_SERVICES)


STRANGE = ("E1b.2", "E1c.2", "E1e.1", "E1j.2")


@pytest.mark.parametrize("name", one_in(5, ["Plain", "Asynchronous", "NeedsMore", "Raising", "Endless"]))
async def test_somebody_elses_class_is_evidence_whatever_it_does(name: str, tmp_path: Path) -> None:
    components = {"IsolatedEnvironment": f"strange_environments:{name}"}
    judged = {case: await perform_case(case, tmp_path, components=components, deadline=3.0) for case in STRANGE}
    told = " ".join(str(result) for result in judged.values())
    verdict = {case: result.verdict for case, result in judged.items()}
    match name:
        case "Plain":  # a method that it lacks is no promise of its; its callbacks are never called
            assert verdict["E1b.2"] is Verdict.INCONCLUSIVE and "has no load_from_file" in told
            assert verdict["E1e.1"] is Verdict.PASS
        case "Asynchronous":
            assert verdict["E1e.1"] is Verdict.FAIL
        case "NeedsMore":
            assert {*verdict.values()} <= {Verdict.FAIL, Verdict.INCONCLUSIVE} and "service" in told
        case "Raising":
            assert {*verdict.values()} == {Verdict.FAIL} and "OSError: no place for an environment" in told
        case "Endless":
            assert verdict["E1c.2"] is Verdict.FAIL and "no return within 3 s" in told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("strange_environments:Plain", "every public call is as it is written down"),
        ("strange_environments:Asynchronous", "get is asynchronous, unlike.*\n.*set is asynchronous"),
        ("strange_environments:NeedsMore", "__init__ needs also service|takes \\(service\\)"),
        ("no_such_module:Class", "cannot be imported from no_such_module:Class"),
    ],
)
async def test_how_a_class_differs_is_said_before_it_is_tried(path: str, told: str, tmp_path: Path) -> None:
    probe = of_classes("E1", tmp_path / "history.jsonl", components={"IsolatedEnvironment": path})
    compared = await workloads.compare_signatures(probe, "IsolatedEnvironment")
    probe.history.close()
    assert re.search(told, repr(compared), re.DOTALL), compared
    assert bool(compared) == (path == "strange_environments:Plain")


async def test_without_an_operator_the_environments_of_services_are_unknown(tmp_path: Path) -> None:
    probe = of_classes("E1", tmp_path / "history.jsonl", components={})
    (auth,) = await workloads.service_environments(probe)
    probe.expect("nothing of it is seen", auth.names_of(auth.fingerprint("JWT_SECRET_KEY")), [])
    judged = probe.check("E1a.1", promises())
    probe.history.close()
    assert judged.verdict is Verdict.INCONCLUSIVE and "operator_token" in judged.result.judgements[0].doubts[0]


async def test_without_a_class_its_cases_do_not_apply(tmp_path: Path) -> None:
    result = await perform_case("E1c.1", tmp_path, components={})
    assert result.verdict is Verdict.NOT_APPLICABLE and "components" in result.reason


def test_the_notebook_quotes_what_the_class_promises() -> None:
    def words(text: str) -> str:
        return " ".join(re.sub(r"[*`]", "", text.replace("’", "'")).split())

    promised = words(inspect.getdoc(IsolatedEnvironment) or "")
    cells = json.loads((PROJECT / "notebooks" / "E1-isolated-environment.ipynb").read_text(encoding="utf-8"))["cells"]
    quoted = re.findall(r"^> (.+)$", "\n".join("".join(cell["source"]) for cell in cells), re.MULTILINE)
    assert len(quoted) > 15
    assert [quote for quote in quoted if words(quote).strip("… .") not in promised] == []
