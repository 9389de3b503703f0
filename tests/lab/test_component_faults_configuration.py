"""The configuration notebook: each of its cases is red on its faults, and copes with whatever class is named."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from component_cases import perform_case
from daily import one_in

from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.verdict import Verdict
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.faults import known_faults

CLASSES = ("UnifiedConfigurationManager", "LiveConfiguration", "Setting")
CLAIMED = {fault: case.id for case in SCENARIOS["E5"].declared for fault in case.faults}
FAULTS = [id for id in known_faults(kinds=("component",)) if id.startswith("configuration-")]


@pytest.fixture(autouse=True)
def classes_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside this module can be imported by the processes of a case."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_fault_is_claimed_by_one_case_and_every_case_by_its_own() -> None:
    assert set(CLAIMED) == set(FAULTS)
    assert set(CLAIMED.values()) == set(SCENARIOS["E5"].cases)
    assert len(CLAIMED) == sum(len(case.faults) for case in SCENARIOS["E5"].declared)


@pytest.mark.parametrize("fault", one_in(5, FAULTS))
@pytest.mark.nightly
async def test_a_fault_turns_its_case_red_and_another_area_stays_green(fault: str, tmp_path: Path) -> None:
    broken = {name: f"faulty_components:{name}__{fault.replace('-', '_')}" for name in CLASSES}
    result = await perform_case(CLAIMED[fault], tmp_path, components=broken)
    assert result.verdict is Verdict.FAIL, result
    neighbour = "E5h.1" if CLAIMED[fault][2] != "h" else "E5i.2"
    assert (await perform_case(neighbour, tmp_path, components=broken)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "verdict", "told"),
    [
        ("Plain", Verdict.INCONCLUSIVE, "takes other arguments"),
        ("NeedsMore", Verdict.INCONCLUSIVE, "takes other arguments"),
        ("Asynchronous", Verdict.FAIL, "no plain data"),
        ("Raising", Verdict.FAIL, "OSError: no place for a configuration"),
        ("Endless", Verdict.FAIL, "no return within"),
    ],
)
@pytest.mark.nightly
async def test_somebody_elses_class_is_evidence_whatever_it_does(
    name: str, verdict: Verdict, told: str, tmp_path: Path
) -> None:
    strange = f"strange_configurations:{name}"
    components = {**dict.fromkeys(CLASSES, strange), "Setting": "netra_probe.lab.shared.settings:Setting"}
    result = await perform_case("E5h.1", tmp_path, components=components)
    assert result.verdict is verdict and told in str(result), result
    if name != "Endless":
        assert (await perform_case("E5a.1", tmp_path, components=components)).verdict is not Verdict.PASS


async def test_without_a_class_its_cases_do_not_apply(tmp_path: Path) -> None:
    result = await perform_case("E5c.1", tmp_path, components={})
    assert result.verdict is Verdict.NOT_APPLICABLE and "components" in result.reason


def test_the_notebook_quotes_what_the_class_promises() -> None:
    def words(text: str) -> str:
        return " ".join(re.sub(r"[*`]", "", text.replace("’", "'")).split())

    promised = words(inspect.getdoc(UnifiedConfigurationManager) or "")
    cells = json.loads((PROJECT / "notebooks" / "E5-unified-configuration.ipynb").read_text(encoding="utf-8"))["cells"]
    quoted = re.findall(r"^> (.+)$", "\n".join("".join(cell["source"]) for cell in cells), re.MULTILINE)
    assert len(quoted) == len(SCENARIOS["E5"].areas)
    assert [quote for quote in quoted if words(quote) not in promised] == []
