"""Against a server that misbehaves at random nothing raises, nothing goes on for ever, and nothing passes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from performing import broken_checkers, perform, verdicts
from wild_platform import WildPlatform

from netra_probe.checkers.verdict import Verdict

#: Seconds after which a notebook would be taken to hang; it takes a fraction of that.
BOUND = 300.0


@pytest.mark.parametrize(
    ("scenario", "seed"),
    [("C4", 0), *(pytest.param(*one, marks=pytest.mark.nightly) for one in (("C4", 1), ("C4", 2), ("S1", 3)))],
)
async def test_a_wild_server_ends_no_notebook_and_passes_no_case(
    scenario: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRA_PROBE_STATE", str(tmp_path))  # it lets nobody be removed
    async with WildPlatform(seed).running() as wild:
        target = {"auth_url": wild.url, "backend_urls": [wild.url]}
        async with asyncio.timeout(BOUND):
            result = await perform(scenario, users=2, rounds=1, deadline=0.5, target=target)
    assert Verdict.PASS not in verdicts(result).values()
    assert result.verdict in (Verdict.INCONCLUSIVE, Verdict.FAIL)
    assert broken_checkers(result) == []
