"""Who one is, at every door and in this process; sessions that come and go; checkers with nothing to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from acting import Acting, taken

from netra_probe import Investigation, workloads
from netra_probe.checkers import lifecycle, resources, store, tokens
from netra_probe.clients.component import Component


@dataclass(frozen=True)
class ForgetfulContext:
    """A context that takes any id, and whose children are everybody's."""

    user_id: str
    thread_id: str
    run_id: str

    @classmethod
    def from_request(cls, user_id: str, thread_id: str, run_id: str, **more: Any) -> ForgetfulContext:
        return cls(user_id, thread_id, run_id)

    def create_child_context(self, operation_name: str, **more: Any) -> ForgetfulContext:
        return ForgetfulContext("shared", self.thread_id, self.run_id)

    def verify_isolation(self) -> bool:
        return True

    def to_dict(self) -> dict[str, Any]:
        return {"user_id": self.user_id}


async def test_everybody_is_themselves_everywhere_on_a_healthy_lab(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.introduce(probe, rounds=1))
    assert outcome.counts["asked"] == outcome.counts["accepted"] == 2 * 2 * outcome.counts["endpoints"]
    assert outcome.counts["forged"] == outcome.counts["refused"] > 0
    assert healthy.doubtless("C1", "C2", "C6") == {}


async def test_contexts_are_made_for_somebody_and_for_nobody_refused(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.make_contexts(probe))
    assert repr(outcome) == (
        "Execution contexts in this process (alice, bob): 2 made, 2 children, 2 isolated, 12 without a user, 12 refused"
    )
    assert healthy.doubtless("C6") == {}


@pytest.mark.nightly
async def test_sessions_that_come_and_go_leave_nothing(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.come_and_go(probe, probe.users[:1], cycles=3, with_sockets=True))
    assert outcome.counts["sessions"] == 4
    assert outcome.counts["refused"] == outcome.counts["uses afterwards"] >= 28
    assert outcome.counts["closed"] == outcome.counts["sockets"] == 8
    assert healthy.doubtless("C7", "C10") == {}


async def test_a_refresh_token_that_opens_doors_is_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    outcome = await workloads.introduce(acting.probe, acting.probe.users[:1], surfaces=["auth", "rest"])
    assert outcome.counts["refused"] < outcome.counts["forged"]
    said = taken(acting.judged()["C6"])
    assert ("refresh token as access token", "themselves") in said  # A4


@pytest.mark.nightly
async def test_sockets_that_outlive_their_session_are_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    outcome = await workloads.come_and_go(acting.probe, acting.probe.users[:1], cycles=1, with_sockets=True)
    assert outcome.counts["closed"] < outcome.counts["sockets"]
    assert "C7" in acting.found()  # W11


async def test_a_context_for_everybody_is_found(healthy: Acting) -> None:
    probe = healthy.probe
    path = f"{ForgetfulContext.__module__}:ForgetfulContext"
    probe._components["UserExecutionContext"] = Component(probe.history, "UserExecutionContext", path=path)
    outcome = await workloads.make_contexts(probe, probe.users[:1])
    assert outcome.counts["refused"] == 0
    kinds = {finding.kind for finding in healthy.judged()["C6"].findings}
    assert kinds == {"forged credential accepted", "valid credential answered as another"}
    del probe._components["UserExecutionContext"]


async def test_a_context_that_is_not_there_is_no_error(healthy: Acting) -> None:
    probe = healthy.probe
    probe._components["UserExecutionContext"] = Component(probe.history, "UserExecutionContext", path="nowhere:At")
    assert not await workloads.make_contexts(probe)
    del probe._components["UserExecutionContext"]


async def test_checkers_are_left_out_where_a_target_lends_them_nothing(healthy: Acting) -> None:
    def left(probe: Investigation, *given: Any) -> list[str]:
        return [checker.id for checker in workloads.applicable_checkers(probe, *given)]

    probe = healthy.probe
    assert left(probe, tokens(), store(), resources()) == ["C6", "C12", "C10"]
    lent = probe.target
    try:
        probe.target = lent.model_copy(update={"database_url": None, "redis_url": None})
        expected = ["C7", "C10"] if "operator" in probe.target.surfaces else ["C7"]
        assert left(probe, lifecycle(), store(), resources()) == expected
        assert left(probe, store()) == ["C12"]
    finally:
        probe.target = lent
