"""Faults modelled on public bug reports: triggered over the wire and seen there, and not on a healthy lab."""

from __future__ import annotations

import pytest
from backend_client import Socket, register_in
from composing import Composed
from faulty_labs import Drive, FaultyLabs, check

from netra_probe.lab import Lab

QUOTA = 600


async def p5(lab: Lab) -> list[bool]:
    busy, other = await register_in(lab, "busy"), await register_in(lab, "other")
    async with Socket(lab, busy) as mine, Socket(lab, other) as others:
        for _ in range(QUOTA):
            await mine.say("ping")
        await mine.until(lambda frame: len(mine.frames) >= QUOTA)
        await others.say("ping")
        answer = await others.until(lambda frame: frame["type"] in ("pong", "error_message"))
    return [answer["type"] == "error_message" and answer["error_code"] == "RATE_LIMITED"]


DRIVES: dict[str, Drive] = {"P5": p5}
GROUPS = (("P5",),)


@pytest.fixture
def labs(compose: Composed) -> FaultyLabs:
    """Labs with a few faults each."""
    return FaultyLabs(compose, GROUPS)


@pytest.mark.parametrize("fault", [fault for group in GROUPS for fault in group])
async def test_a_fault_is_triggered_and_seen(labs: FaultyLabs, fault: str) -> None:
    await check(DRIVES[fault], labs.with_fault(fault), fault)


@pytest.mark.parametrize("fault", DRIVES)
async def test_a_healthy_lab_shows_no_symptom(lab: Lab, fault: str) -> None:
    assert not any(await DRIVES[fault](lab))
