"""What is said of a hand-off where a target shows less of it than the lab does, or shows it broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_probe.clients.agent import Run
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.replies import Answered
from netra_probe.clients.websocket import Received
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation
from netra_probe.workloads.agents.hand_offs import HandOff, RunTree, hand_off, keeps


def run(*events: dict[str, Any]) -> Run:
    operation = Operation(index=0, time=0, type="ok", action="receive", surface="websocket")
    received = tuple(Received(operation=operation, frame=read_frame(json.dumps(event))) for event in events)
    return Run(user="alice", outcome=Answered(), run_id="r", thread_id="t", events=received)


def event(name: str, agent: str = "", **payload: Any) -> dict[str, Any]:
    return {"type": name, "run_id": "r", "agent_name": agent, "payload": payload}


def test_agents_are_read_from_the_root_or_the_body_of_events() -> None:
    seen = hand_off(
        run(
            event("agent_started", "triage"),
            event("agent_thinking", "triage", hand_over_to="costs"),
            {"type": "agent_completed", "run_id": "r", "data": {"agent_name": "costs", "result": "Save."}},
        )
    )
    assert (seen.turns, seen.named, seen.starts) == (["triage", "costs"], ["costs"], 1)
    assert (seen.is_orderly, seen.follows_names, seen.is_one_stream) == (True, True, True)


def test_two_starts_or_two_run_ids_are_no_single_stream() -> None:
    assert not HandOff(turns=["triage", "costs"], starts=2).is_one_stream
    assert not HandOff(turns=["triage", "costs"], runs=frozenset({"r", "s"})).is_one_stream


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (HandOff(turns=[]).is_orderly, "name no agent"),
        (HandOff(turns=["assistant"]).is_orderly, "one agent answers by itself"),
        (HandOff(turns=["triage", "costs"]).follows_names, "to whom"),
        (RunTree(missing=Undecided(reason="no steps")).is_of(HandOff(turns=["triage"])), "no steps"),
        (RunTree(steps=[("triage", "a", "")]).is_of(HandOff(turns=[])), "name no agent"),
        (keeps(run(event("agent_completed", result="Save.")), "Where?"), "repeats a request"),
    ],
)
def test_what_a_target_does_not_show_is_undecided(seen: Any, reason: str) -> None:
    assert isinstance(seen, Undecided)
    assert reason in seen.reason


def test_a_request_is_kept_where_report_or_answer_repeat_it() -> None:
    report = event("final_report", request="Where [canary]?", result="Save.")
    assert keeps(run(event("agent_completed", result="You ask: Where? Save.")), "Where?") is True
    assert keeps(run(report), "Where [canary]?") is True
    assert keeps(run(report), "Where does it all go?") is False
