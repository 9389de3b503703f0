"""Requests wait for each other where a defect needs two of them, and for nobody else."""

from __future__ import annotations

import asyncio

from netra_probe.lab.shared.clock import Meeting

NEVER, SOON = 3600.0, 0.01


async def test_two_go_on_together_however_late_the_second_is() -> None:
    meeting, done = Meeting(seconds=NEVER), []

    async def come(name: str) -> None:
        done.append((name, await meeting.join("alice")))

    first = asyncio.create_task(come("first"))
    while not meeting.expects("alice"):
        await asyncio.sleep(0)
    assert done == [] and not meeting.expects("bob")
    await come("second")
    await first
    assert sorted(done) == [("first", True), ("second", True)]
    assert not meeting.expects("alice")


async def test_who_comes_alone_goes_on_alone() -> None:
    meeting = Meeting(seconds=SOON)
    assert await asyncio.gather(meeting.join("alice"), meeting.join("bob")) == [False, False]
    assert not meeting.expects("alice")


async def test_who_gives_up_is_not_waited_for() -> None:
    meeting = Meeting(seconds=NEVER)
    gone = asyncio.create_task(meeting.join("alice"))
    while not meeting.expects("alice"):
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert not meeting.expects("alice")
