"""On platforms that nobody here wrote: every operation that forgets the owner is found, and no other is accused."""

from __future__ import annotations

import pytest
from acting import Acting
from strange_platform import StrangePlatform, served

from netra_probe import investigate, workloads


async def accused(platform: StrangePlatform) -> tuple[set[str], dict[str, tuple[str, ...]]]:
    """The operations that C5 finds anything on, and the findings and doubts of C1, C2 and C8."""
    with served(platform) as url:
        # What is renamed by an id in the body is not understood from outside: it is sent because this says so.
        target = {"auth_url": url, "backend_urls": [url], "allow": ["POST /v2/*-renaming"]}
        probe = await investigate("C4", users=2, target=target)
        acting = Acting(probe)
        try:
            await workloads.trespass(probe, owner=probe.users[0], intruder=probe.users[1])
            judged = acting.judged()
        finally:
            await probe.close()
    found = {place.operation for finding in judged["C5"].findings for place in finding.operations}
    others = {
        id: tuple(finding.summary for finding in judged[id].findings)
        for id in ("C1", "C2", "C8")
        if judged[id].findings
    }
    return found, others


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 8))])
@pytest.mark.nightly
async def test_every_unchecked_operation_is_found_and_no_other(seed: int) -> None:
    platform = StrangePlatform(seed, flawed=True)
    found, _ = await accused(platform)
    assert found == platform.unchecked


@pytest.mark.parametrize("seed", [100, pytest.param(101, marks=pytest.mark.nightly)])
async def test_a_platform_without_flaws_is_not_accused(seed: int) -> None:
    assert await accused(StrangePlatform(seed, flawed=False)) == (set(), {})


async def test_who_is_told_to_come_back_later_comes_back_later() -> None:
    platform = StrangePlatform(100, flawed=False, queue=2)
    with served(platform) as url:
        probe = await investigate("C4", users=2, target={"auth_url": url, "backend_urls": [url]})
        registered = [one for one in probe.history if one.action == "POST /auth/register" and one.type != "invoke"]
        await probe.close()
    assert sorted(one.status or 0 for one in registered) == [200, 200, 429, 429]
