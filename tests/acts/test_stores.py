"""Stores: filled, opened, left and emptied; what opens them, and who else can tell that they are full."""

from __future__ import annotations

import pytest
from acting import Acting

from netra_probe import workloads


@pytest.mark.nightly
async def test_what_is_kept_is_found_again_until_it_is_deleted(healthy: Acting) -> None:
    kept = await healthy.do(lambda probe: workloads.create_and_read_all(probe))
    assert kept.counts["made"] == kept.counts["read back"] >= 10
    shown = kept.steps(1_000)
    assert {who for _, who, *_ in shown.rows} >= {f"{user.name}/rest" for user in healthy.probe.users}
    made = [(who, came) for _, who, does, came in shown.rows if does == "POST /api/threads"]
    assert sorted(made) == [(f"{user.name}/rest", "200") for user in healthy.probe.users]
    assert [float(at) for at, *_ in shown.rows] == sorted(float(at) for at, *_ in shown.rows)
    kinds = [row for row in shown.kinds().rows if "POST /api/threads" in row[1] or "more" in row[1]]
    assert kinds and kinds[0][0] == " · ".join(user.name for user in healthy.probe.users)
    assert "of which the first 1" in kept.steps(1).text() and len(kept.steps(1).table().rows) == 1
    gone = await healthy.do(lambda probe: workloads.delete_all(probe))
    assert gone.counts["deleted"] >= 4
    assert gone.counts["still returned afterwards"] == 0
    assert healthy.doubtless("C1", "C5", "C8") == {}


@pytest.mark.nightly
async def test_stores_open_to_their_owner_and_to_nothing_that_is_no_token(healthy: Acting) -> None:
    opened = await healthy.do(lambda probe: workloads.open_stores(probe))
    assert opened.counts["opened"] == opened.counts["presented"] == opened.counts["refused"] >= 30
    forged = await healthy.do(
        lambda probe: workloads.forge_at_stores(probe, tester=probe.users[1], victim=probe.users[0])
    )
    assert forged.counts["presented"] == forged.counts["rejected"] >= 60
    assert healthy.doubtless("C1", "C5") == {}


@pytest.mark.nightly
async def test_a_session_that_is_over_opens_no_store(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.outlive_sessions(probe, probe.users[:1], cycles=3))
    assert outcome.counts["sessions"] == 4
    assert outcome.counts["refused"] == outcome.counts["uses afterwards"] >= 20
    assert healthy.doubtless("C7", "C10") == {}


@pytest.mark.nightly
async def test_nobody_notices_whether_others_are_there(healthy: Acting) -> None:
    outcome = await healthy.do(lambda probe: workloads.compare_reads(probe, probe.users[0]))
    assert outcome.counts["read"] == 6 * outcome.counts["routes"] > 0
    assert healthy.doubtless("C1", "C11") == {}


async def test_a_refresh_token_that_opens_stores_is_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    outcome = await workloads.open_stores(acting.probe, acting.probe.users[:1])
    assert outcome.counts["refused"] < outcome.counts["presented"]
    assert "foreign read" in acting.found()["C5"]  # A4


async def test_ids_that_are_claimed_beside_a_token_are_found(at_broken_door: Acting) -> None:
    acting = at_broken_door
    alice, bob = acting.probe.users
    outcome = await workloads.forge_at_stores(acting.probe, tester=bob, victim=alice)
    assert outcome.counts["rejected"] < outcome.counts["presented"]
    assert "foreign read" in acting.found()["C5"]  # A9
