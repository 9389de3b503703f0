"""What may happen to any deployment is nobody's fault: checkers that are not told of it find nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from composing import Composed

from netra_probe import Investigation, investigate
from netra_probe.checkers import automaton, canary, delivery, envelope, store
from netra_probe.checkers.base import Window, judge
from netra_probe.clients.agent import Run
from netra_probe.detection.disturbances import RESTARTED, disturbed
from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.plans.tabs import everybody_asks, tabs
from netra_probe.target.lab import as_target

CHECKERS = (automaton, canary, delivery, envelope, store)


def summaries(probe: Investigation) -> list[str]:
    """Everything that is found in the whole history."""
    checkers = [checker() for checker in CHECKERS]
    return [
        finding.summary
        for judgement in judge(checkers, list(probe.history), Window())
        for finding in judgement.findings
    ]


async def ask_on_both(probe: Investigation) -> Sequence[Run]:
    """Everybody asks at each backend, at once."""

    async def at(backend: int) -> list[Run]:
        async with tabs(probe.users, backend=backend) as sockets:
            return await everybody_asks(probe.users, sockets)

    return [run for runs in await asyncio.gather(at(0), at(1)) for run in runs]


async def test_a_backend_that_restarts_in_the_middle_of_runs(compose: Composed, tmp_path: Path) -> None:
    running = compose()
    before = running.status()["services"][RESTARTED]["pid"]
    probe = await investigate("C4", users=3, target=as_target(running))
    try:
        with disturbed("restarts", running, tmp_path) as told:
            while not told.done and not told.trouble:
                await ask_on_both(probe)
            runs = await ask_on_both(probe)
        await probe.look()
        assert any(runs)
        assert summaries(probe) == []
    finally:
        await probe.close()
    assert told.trouble == ""
    assert running.status()["services"][RESTARTED]["pid"] != before


@pytest.mark.nightly
async def test_events_that_are_late_each_by_another_time(compose: Composed) -> None:
    running = compose(("JITTER",))
    probe = await investigate("C4", users=3, target=as_target(running))
    try:
        runs = [run for _ in range(3) for run in await ask_on_both(probe)]
        await probe.look()
        assert all(runs)
        assert summaries(probe) == []
        assert changes_of_turn(probe) > len(runs)
    finally:
        await probe.close()
    assert running.status()["faults"]["JITTER"]["triggered"] > 0


@pytest.mark.nightly
async def test_neighbours_who_die_hang_up_and_read_slowly(compose: Composed, tmp_path: Path) -> None:
    running = compose()
    probe = await investigate("C4", users=3, target=as_target(running))
    try:
        with disturbed("neighbours", running, tmp_path) as told:
            while not told.done and not told.trouble:
                runs = await ask_on_both(probe)
        await probe.look()
        assert all(runs)
        assert summaries(probe) == []
    finally:
        await probe.close()
    assert told.trouble == "" and told.done


def changes_of_turn(probe: Investigation) -> int:
    """How often an event of one run came right after one of another."""
    frames = (read_frame(operation.payload) for operation in probe.history if operation.action == actions.RECEIVE)
    return sum(one != other for one, other in pairwise(frame.run for frame in frames if frame.run))
