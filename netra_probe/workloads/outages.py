"""A service that is away or set otherwise for a while: on the embedded lab only, which is nobody's deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from netra_probe.history import actions
from netra_probe.target.lab import lab_behind

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation


@asynccontextmanager
async def paused(
    probe: Investigation, service: str, *, how: Literal["frozen", "killed"] = "frozen"
) -> AsyncIterator[bool]:
    """Have a service of the lab away for a block, and back when it ends.

    >>> async with workloads.paused(probe, "auth") as away:   # doctest: +SKIP
    ...     refused = await bob.connect()

    The target is taken for this notebook alone, so that nobody else meets the outage; others go on after the check.
    On any other deployment nothing is done and false is given: the case then does not apply, unless it can say
    something without.

    Arguments:
        service: ``auth``, ``backend-1``, ``backend-2``, ``llm``, ``redis`` or ``postgres``.
        how: ``frozen`` keeps its connections and says nothing (SIGSTOP); ``killed`` loses them, and starts it again at
            the end of the block (SIGKILL).
    """
    running = lab_behind(probe.target) if probe.wire.live else None
    if running is None:
        if probe.wire.live:
            probe.notes.withhold(f"pausing {service}: possible on the embedded lab only")
        yield not probe.wire.live
        return
    await probe.turn.alone()
    away, back = {
        "frozen": (running.suspend_service, running.resume_service),
        "killed": (running.kill_service, running.start_service),
    }[how]
    probe.history.observe(actions.DISTURB, detail={"what": how, "target": service})
    await asyncio.to_thread(away, service)
    try:
        yield True
    finally:
        await asyncio.to_thread(back, service)
        probe.history.observe(actions.DISTURB, detail={"what": "back", "target": service})


@asynccontextmanager
async def configured(probe: Investigation, settings: Mapping[str, float]) -> AsyncIterator[bool]:
    """Have services of the lab run with other settings for a block, ``{"RUN_SECONDS": 1}`` say; see `paused`."""
    running = lab_behind(probe.target) if probe.wire.live else None
    if running is None:
        if probe.wire.live:
            probe.notes.withhold(f"changing {', '.join(settings)}: possible on the embedded lab only")
        yield not probe.wire.live
        return
    await probe.turn.alone()
    detail = {"what": "configured", "target": ", ".join(settings)}
    probe.history.observe(actions.DISTURB, detail=detail)
    await asyncio.to_thread(running.configure, settings)
    try:
        yield True
    finally:
        await asyncio.to_thread(running.configure, dict.fromkeys(settings))
        probe.history.observe(actions.DISTURB, detail={**detail, "what": "back"})
