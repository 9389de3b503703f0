"""Forged, foreign, ended and reused credentials: a healthy lab holds, and each defect shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from acting import Acting, acting_on, taken
from composing import Composed

from netra_probe import Investigation, workloads
from netra_probe.history import actions
from netra_probe.workloads.outcome import Outcome

FAULTS = Path(__file__).with_name("faults_of_tokens.py")
#: Bad handshakes in a row, over all doors together, that shut out everybody on some deployments (netra-wire §1).
BREAKER = 5


def worst_row_of_refusals(probe: Investigation) -> int:
    """The most handshakes in a row that were refused, whoever tried them and at whichever backend."""
    row = worst = 0
    for operation in probe.history:
        if operation.action == actions.CONNECT and operation.type != "invoke":
            row = 0 if operation.type == "ok" else row + 1
            worst = max(worst, row)
    return worst


@pytest.mark.nightly
async def test_no_forgery_has_an_effect_on_a_healthy_lab(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.forge(probe, tester=probe.users[1], victim=probe.users[0]))
    assert outcome.counts["presented"] == outcome.counts["rejected"] > 600
    assert worst_row_of_refusals(healthy.probe) < BREAKER
    assert healthy.doubtless("C1", "C2", "C6") == {}


async def test_everybody_stays_themselves_in_turns_and_a_refresh_token_wins_once(healthy: Acting) -> None:
    turns = await healthy.do(lambda probe: workloads.same_prefix_tokens(probe, probe.users, rounds=1))
    assert turns.counts["presented"] == turns.counts["rejected"]
    refreshed = await healthy.do(lambda probe: workloads.refresh_together(probe, probe.users[0]))
    assert (
        repr(refreshed) == "Concurrent token refreshes (alice): 6 at the same moment, 1 successful, 0 successful later"
    )
    bypasses = await healthy.do(
        lambda probe: workloads.try_bypasses(probe, tester=probe.users[1], victim=probe.users[0])
    )
    assert bypasses.counts["presented"] == bypasses.counts["rejected"]
    assert healthy.doubtless("C1", "C6", "C9") == {}


async def test_ended_credentials_are_of_no_use(healthy: Acting) -> None:
    async def all_ends(probe: Investigation) -> list[Outcome]:
        return await probe.together(
            [
                workloads.log_out(probe, probe.users[0]),
                workloads.let_expire(probe, probe.users[1]),
                workloads.disable(probe),
            ]
        )

    for outcome in await healthy.do(all_ends):
        assert outcome.counts["refused"] == outcome.counts["uses afterwards"] >= 7
        assert outcome.counts["closed"] == outcome.counts["sockets"] == 2
    assert healthy.doubtless("C7") == {}


async def test_callbacks_count_where_their_login_began(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.log_in_through(probe, *probe.users))
    assert dict(outcome.counts) == {"providers": 5, "logins": 10, "forged callbacks": 6, "refused": 6}
    assert healthy.doubtless("C6") == {}


@pytest.mark.nightly
async def test_careless_doors_are_found(at_broken_door: Acting) -> None:
    acting, (alice, bob) = at_broken_door, at_broken_door.probe.users
    await workloads.forge(acting.probe, tester=bob, victim=alice, families=("audience", "conflict"))
    judged = acting.judged()
    said = taken(judged["C6"])
    assert ("refresh token as access token", "themselves") in said  # A4
    for surface in ("rest", "websocket"):  # A9
        assert ("X-User-ID of the victim", "alice") in taken(judged["C6"], surface)
    assert "foreign read" in {finding.kind for finding in judged["C5"].findings}


@pytest.mark.nightly
async def test_each_way_of_looking_badly_at_a_token_is_shown_by_the_forgeries_for_it_and_by_no_others(
    compose: Composed,
) -> None:
    lab = compose(("T-LONG", "T-OLD", "T-ADMIN", "T-SESSION", "T-PROXY"), (FAULTS,))
    async for acting in acting_on(lab):
        alice, bob = acting.probe.users
        await workloads.forge(acting.probe, tester=bob, victim=alice, spread=True)
        judgement = acting.judged()["C6"]
        assert {forgery for forgery, _ in taken(judgement)} == {
            "exp in ten years", "iat ten years ago",  # T-LONG
            "alg none, without session", "claims changed, without session",  # T-OLD
            "alg none, with all rights", "claims changed, with all rights",  # T-ADMIN
            "session of nobody",  # T-SESSION
            "unsigned token beside X-Original-URL", "unsigned token beside X-Forwarded-For",  # T-PROXY
        }  # fmt: skip


async def test_a_published_signing_key_is_found_without_sending_anything(compose: Composed) -> None:
    async for acting in acting_on(compose(("T-KEY",), (FAULTS,))):
        alice, bob = acting.probe.users
        await workloads.forge(acting.probe, tester=bob, victim=alice, families=("header",), surfaces=("auth",))
        offline = acting.judged()["C6"].findings
        assert {one.kind for one in offline} == {"token signed with a known key"}
        assert {one.victims for one in offline} == {("alice",), ("bob",)}


async def test_a_bypass_is_found(at_broken_door: Acting) -> None:
    acting, (alice, bob) = at_broken_door, at_broken_door.probe.users
    await workloads.try_bypasses(acting.probe, tester=bob, victim=alice)
    said = taken(acting.judged()["C6"])
    assert {("development login", "a stranger"), ("bypass by dev-token", "a stranger")} <= said


async def test_reused_refresh_tokens_and_unbound_logins_are_found(at_broken_door: Acting) -> None:
    acting, (alice, bob) = at_broken_door, at_broken_door.probe.users
    assert (await workloads.refresh_together(acting.probe, alice)).counts["successful"] > 1
    found = acting.found()
    assert "single-use credential accepted twice" in found["C6"]
    assert found["C9"] == {"double spend"}
    outcome = await workloads.log_in_through(acting.probe, alice, bob)
    assert outcome.counts["refused"] < outcome.counts["forged callbacks"]
    assert taken(acting.judged()["C6"]) == {("callback of another browser", "alice")}


async def test_sockets_that_outlive_a_logout_are_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    outcome = await workloads.log_out(acting.probe, acting.probe.users[0])
    assert outcome.counts["closed"] == 0
    assert acting.found()["C7"] == {"socket outlives its credential"}


async def test_a_cache_without_users_is_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    await workloads.read_in_turns(acting.probe)
    assert "foreign canary" in acting.found()["C1"]
