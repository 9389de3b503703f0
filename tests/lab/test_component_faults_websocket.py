"""The WebSocket notebook: each of its cases is red on its faults, and copes with whatever router is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from component_cases import perform_case
from composing import Composed
from daily import one_in
from performing import perform, verdicts

from netra_probe.catalogue.components import COMPONENTS
from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.verdict import Verdict
from netra_probe.lab.backend import websocket_core
from netra_probe.lab.shared.faults import known_faults
from netra_probe.target.lab import as_target

CLAIMED = {fault: case.id for case in SCENARIOS["E4"].declared for fault in case.faults}
OURS = {id for id in known_faults(kinds=("component",)) if id.startswith("websocket-")}
OF_CLASSES = {
    "websocket-connection-decides": "WebSocketEventRouter",
    "websocket-number-before-kept": "UserWebSocketEmitter",
    "websocket-goes-on-after-error": "UserWebSocketEmitter",
    "websocket-mapping-kept": "WebSocketEventRouter",
}
#: Faults that share a lab: none of them turns a case red that is to be red because of another one.
TOGETHER = (
    ("W1",),
    ("W3", "websocket-thinking-left-out"),
    ("W9",),
    ("W6", "W8"),
    ("websocket-vanished-kept", "W10", "W2"),
    ("websocket-tabs-share", "W4", "W11", "A11"),
    ("X7", "W13", "F4", "W14"),
)
CLASSES = ("WebSocketEventRouter", "UserWebSocketEmitter", "UserExecutionContext")
HEALTHY = {name: COMPONENTS[name].path for name in CLASSES}


@pytest.fixture(autouse=True)
def classes_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beside this module can be imported by the processes of a case."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_fault_is_claimed_by_one_case_and_every_case_by_its_own() -> None:
    assert {*CLAIMED} >= OURS
    assert {*CLAIMED} == {*OF_CLASSES, *(fault for group in TOGETHER for fault in group)}
    assert set(CLAIMED.values()) == set(SCENARIOS["E4"].cases)
    assert len(CLAIMED) == sum(len(case.faults) for case in SCENARIOS["E4"].declared)


@pytest.mark.parametrize("fault", OF_CLASSES)
async def test_a_fault_of_a_class_turns_its_case_red_and_a_neighbour_stays_green(fault: str, tmp_path: Path) -> None:
    name = OF_CLASSES[fault]
    broken = HEALTHY | {name: f"faulty_components:{name}__{fault.replace('-', '_')}"}
    result = await perform_case(CLAIMED[fault], tmp_path, components=broken)
    assert result.verdict is Verdict.FAIL, result
    cases = [CLAIMED[one] for one, part in OF_CLASSES.items() if part == name]
    (neighbour,) = (case for case in cases if case != CLAIMED[fault])
    result = await perform_case(neighbour, tmp_path, components=broken)
    assert result.verdict is Verdict.PASS, result


@pytest.mark.parametrize("faults", one_in(len(TOGETHER), TOGETHER))
@pytest.mark.nightly
async def test_faults_of_services_turn_their_cases_red(compose: Composed, faults: tuple[str, ...]) -> None:
    lab = compose(faults)
    cases = {CLAIMED[fault] for fault in faults}
    result = await perform("E4", only=cases, target=as_target(lab))
    assert verdicts(result) == dict.fromkeys(cases, Verdict.FAIL), result
    triggered = {fault: counts["triggered"] for fault, counts in lab.status()["faults"].items()}
    assert all(triggered.values()), triggered


@pytest.mark.parametrize("name", one_in(5, ["Plain", "Synchronous", "OtherArguments", "Raising", "Endless"]))
async def test_somebody_elses_router_is_evidence_whatever_it_does(name: str, tmp_path: Path) -> None:
    components = HEALTHY | {"WebSocketEventRouter": f"strange_routers:{name}"}
    router, registry, emitter = [
        await perform_case(case, tmp_path, components=components, deadline=3.0) for case in ("E4a.2", "E4e.2", "E4b.2")
    ]
    assert emitter.verdict is Verdict.PASS
    match name:
        case "Plain":  # a method that it lacks is no promise of its
            assert router.verdict is Verdict.PASS
            assert registry.verdict is Verdict.INCONCLUSIVE and "has no unregister_connection" in str(registry)
        case "Synchronous":
            assert router.verdict is Verdict.FAIL and "await" in str(router)
        case "OtherArguments":
            assert router.verdict is Verdict.INCONCLUSIVE and "takes other arguments" in str(router)
        case "Raising":
            assert router.verdict is Verdict.FAIL and "OSError: no place for a router" in str(router)
        case "Endless":
            assert router.verdict is Verdict.FAIL and "no return within" in str(router)


async def test_without_a_class_its_cases_do_not_apply(tmp_path: Path) -> None:
    result = await perform_case("E4a.2", tmp_path, components={})
    assert result.verdict is Verdict.NOT_APPLICABLE and "components" in result.reason


def test_the_notebook_quotes_what_the_core_promises() -> None:
    def words(text: str) -> str:
        return " ".join(re.sub(r"[*`]", "", text.replace("’", "'")).split())

    promised = words(websocket_core.__doc__ or "")
    cells = json.loads((PROJECT / "notebooks" / "E4-websocket-core.ipynb").read_text(encoding="utf-8"))["cells"]
    quoted = re.findall(r"^> (.+)$", "\n".join("".join(cell["source"]) for cell in cells), re.MULTILINE)
    assert len(quoted) == len(SCENARIOS["E4"].areas)
    assert [quote for quote in quoted if words(quote) not in promised] == []
