"""Emitters, agents and engines in this process: healthy ones, and those of published faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from acting import Acting

from netra_probe import workloads
from netra_probe.clients.component import Component
from netra_probe.lab.backend.agent_registry import AgentInstanceFactory
from netra_probe.lab.backend.composition import healthy_parts
from netra_probe.lab.shared.faults import known_faults


def _broken(fault: str, *names: str) -> list[Any]:
    """What a published fault makes of these parts of a backend."""
    parts = healthy_parts()
    known_faults()[fault]().install(parts)
    return [parts[name] for name in names]


(LastUsersEmitter,) = _broken("X1", "UserWebSocketEmitter")
(BroadcastingRouter,) = _broken("W1", "WebSocketEventRouter")
(SharedCompletions,) = _broken("G5", "LLMManager")
ByToolNameEngine, ByToolNameDispatcher = _broken("G2", "ToolExecutionEngine", "UnifiedToolDispatcher")


class NeverFinishedEmitter(healthy_parts()["UserWebSocketEmitter"]):  # type: ignore[misc]
    """Goes on after the last event of its run."""

    @property
    def _finished(self) -> bool:
        return False

    @_finished.setter
    def _finished(self, value: bool) -> None:
        """Forgets it."""


class OneAgentFactory(AgentInstanceFactory):
    """Makes one agent, for whoever comes first, of whatever name."""

    agent: Any = None

    async def create_agent_instance(self, agent_name: str, user_context: Any, **more: Any) -> Any:
        if self.agent is None:
            self.agent = await super().create_agent_instance(agent_name, user_context, **more)
        return self.agent


class Elsewhere:
    """A factory that is made in another way, and that nothing here can create_all."""

    def __init__(self, websocket_bridge: object) -> None: ...


@contextmanager
def _put(acting: Acting, **classes: str) -> Iterator[None]:
    """Have the probe use these classes of this module for these components."""
    probe = acting.probe
    for component, name in classes.items():
        probe._components[component] = Component(probe.history, component, path=f"{__name__}:{name}")
    yield
    for component in classes:
        del probe._components[component]


def _kinds(acting: Acting) -> set[str]:
    return {finding.kind for finding in acting.judged()["C6"].findings}


async def test_events_go_to_their_user_in_order_and_end(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.make_emitters(probe))
    assert repr(outcome) == (
        "Emitters in this process (alice, bob): 2 made, 10 events, 10 addressed to their user, 2 in order, "
        "2 after the end, 2 refused, 2 over foreign connections, 2 kept from them"
    )
    assert healthy.doubtless("C6") == {}


async def test_agents_are_made_for_one_user_each(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.make_agents(probe))
    assert repr(outcome) == "Agents in this process (alice, bob): 4 made, 4 isolated, 4 asked, 2 unknown, 2 refused"
    assert healthy.doubtless("C6") == {}


async def test_overlapping_calls_keep_their_results_and_events(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.share_an_engine(probe))
    assert repr(outcome) == (
        "Tool engine in this process (alice, bob): 2 called, 2 own results, "
        "2 with start and completion events, 2 without permission, 2 refused"
    )
    assert healthy.doubtless("C6") == {}


async def test_components_that_mix_users_up_are_found(healthy: Acting) -> None:
    mixed = {"valid credential answered as another"}
    with _put(healthy, UserWebSocketEmitter="LastUsersEmitter"):
        await workloads.make_emitters(healthy.probe)
        assert _kinds(healthy) == mixed  # X1
    with _put(healthy, WebSocketEventRouter="BroadcastingRouter"):
        outcome = await workloads.make_emitters(healthy.probe)
        assert outcome.counts["kept from them"] == 2
        assert _kinds(healthy) == mixed  # W1
    with _put(healthy, LLMManager="SharedCompletions"):
        await workloads.make_agents(healthy.probe)
        assert _kinds(healthy) == mixed  # G5
    with _put(healthy, ToolExecutionEngine="ByToolNameEngine", UnifiedToolDispatcher="ByToolNameDispatcher"):
        outcome = await workloads.share_an_engine(healthy.probe)
        assert outcome.counts["own results"] < 2
        assert _kinds(healthy) == mixed  # G2


async def test_what_should_have_been_refused_is_found(healthy: Acting) -> None:
    with _put(healthy, UserWebSocketEmitter="NeverFinishedEmitter"):
        outcome = await workloads.make_emitters(healthy.probe)
        assert outcome.counts["refused"] == 0
        assert _kinds(healthy) == {"forged credential accepted"}
    with _put(healthy, AgentInstanceFactory="OneAgentFactory"):
        outcome = await workloads.make_agents(healthy.probe)
        assert (outcome.counts["made"], outcome.counts["isolated"]) == (4, 1)
        assert _kinds(healthy) == {"forged credential accepted", "valid credential answered as another"}


@pytest.mark.parametrize("component", ["UserExecutionContext", "AgentInstanceFactory"])
async def test_what_is_not_there_or_made_in_another_way_is_said(healthy: Acting, component: str) -> None:
    with _put(healthy, **{component: "Elsewhere"}):
        assert "not run; missing" in repr(await workloads.make_agents(healthy.probe))
        if component == "UserExecutionContext":
            assert not await workloads.make_emitters(healthy.probe)
            assert not await workloads.share_an_engine(healthy.probe)
    assert "C6" not in healthy.found()
