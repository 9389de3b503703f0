"""Tools called by hand: everybody's own, other people's, in somebody else's name, given up, and after the session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from acting import Acting
from composing import Composed
from conftest import acting_on

from netra_probe import workloads
from netra_probe.clients.component import Component
from netra_probe.lab import Lab


class SharedDispatcher:
    """One for everybody, with the context of whoever came first."""

    user_context: Any = None

    @classmethod
    async def create_for_user(cls, user_context: Any) -> type[SharedDispatcher]:
        cls.user_context = cls.user_context or user_context
        return cls

    @classmethod
    async def execute_tool(cls, name: str, parameters: dict[str, Any]) -> str:
        return "done"

    @classmethod
    async def cleanup(cls) -> None:
        """Keeps what it has."""


@pytest.fixture
def broken_tools(compose: Composed) -> Lab:
    """Results swapped between calls, logouts not passed on."""
    return compose(("G2", "A6"))


@pytest.fixture
async def on_broken_tools(broken_tools: Lab) -> AsyncIterator[Acting]:
    async for acting in acting_on(broken_tools):
        yield acting


async def test_everybody_finds_what_is_their_own(healthy: Acting) -> None:
    in_turn = await healthy.do(lambda probe: workloads.use_tools(probe, together=False))
    at_once = await healthy.do(lambda probe: workloads.use_tools(probe, rounds=2))
    for outcome, rounds in ((in_turn, 1), (at_once, 2)):
        assert outcome.counts["answered"] == outcome.counts["called"] == rounds * outcome.counts["tools"] > 0
    assert healthy.doubtless("C1") == {}


async def test_more_than_one_may_is_refused_and_the_rest_goes_on(healthy: Acting) -> None:
    claimed = await healthy.do(
        lambda probe: workloads.call_unpermitted_tools(probe, intruder=probe.users[1], owner=probe.users[0])
    )
    assert claimed.counts["refused"] == claimed.counts["that must be refused"] > 0
    named = await healthy.do(lambda probe: workloads.look_up_neighbours(probe))
    assert named.counts["refused"] == named.counts["foreign ids"] == 2
    assert healthy.doubtless("C1", "C5") == {}


@pytest.mark.nightly
async def test_calls_that_are_given_up_leave_nothing(healthy: Acting) -> None:
    outcome = await workloads.give_up_on_tools(healthy.probe, healthy.probe.users[0], cycles=3)
    assert outcome.counts["answered"] == outcome.counts["called"] > 0
    assert healthy.doubtless("C10") == {}


async def test_a_token_permits_nothing_after_the_logout(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.tools_after_logout(probe, probe.users[1]))
    assert outcome.counts["refused"] == outcome.counts["called afterwards"] == outcome.counts["called before"] > 0
    assert outcome.counts["calls in the other session"] > 0
    assert healthy.doubtless("C7") == {}


async def test_dispatchers_are_their_users_and_end(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.make_dispatchers(probe))
    said = (
        "Tool dispatchers in this process (alice, bob): 2 made, 2 ended, 2 calls after the end, 2 refused, 2 unaffected"
    )
    assert repr(outcome) == said
    assert healthy.doubtless("C6") == {}


async def test_a_dispatcher_for_everybody_that_never_ends_is_found(healthy: Acting) -> None:
    probe = healthy.probe
    path = f"{SharedDispatcher.__module__}:SharedDispatcher"
    probe._components["UnifiedToolDispatcher"] = Component(probe.history, "UnifiedToolDispatcher", path=path)
    outcome = await workloads.make_dispatchers(probe)
    assert outcome.counts["refused"] == 0
    kinds = {finding.kind for finding in healthy.judged()["C6"].findings}
    assert kinds == {"forged credential accepted", "valid credential answered as another"}
    del probe._components["UnifiedToolDispatcher"]


@pytest.mark.nightly
async def test_a_tool_with_the_services_rights_is_found(on_broken_data: Acting) -> None:
    outcome = await workloads.look_up_neighbours(on_broken_data.probe)
    assert outcome.counts["refused"] == 0
    assert "foreign read" in on_broken_data.found()["C5"]  # G6


async def test_a_claimed_identity_is_found(at_broken_door: Acting) -> None:
    alice, bob = at_broken_door.probe.users
    await workloads.call_unpermitted_tools(at_broken_door.probe, intruder=bob, owner=alice)
    assert "C1" in at_broken_door.found()  # A9


async def test_what_is_kept_for_the_first_caller_is_found(at_broken_door: Acting) -> None:
    await workloads.use_tools(at_broken_door.probe, together=False)
    assert "C1" in at_broken_door.found()  # K1


async def test_swapped_results_are_found(on_broken_tools: Acting) -> None:
    await workloads.use_tools(on_broken_tools.probe, rounds=5)
    assert "C1" in on_broken_tools.found()  # G2


@pytest.mark.nightly
async def test_tools_that_outlive_the_session_are_found(on_broken_tools: Acting) -> None:
    outcome = await workloads.tools_after_logout(on_broken_tools.probe, on_broken_tools.probe.users[0])
    assert outcome.counts["refused"] == 0
    assert on_broken_tools.found()["C7"] == {"credential works after its end"}  # A6
