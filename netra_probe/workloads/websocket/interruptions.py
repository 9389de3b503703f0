"""A store that everybody needs is away for a moment: whoever is connected must get everything from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.history import actions
from netra_probe.plans.tabs import answered, everybody_asks, tabs
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

ACT = "interrupt_listeners"
ONLY_LAB = "only a lab's stores are interrupted"


@workload(answers=ACT)
async def interrupt_listeners(probe: Investigation, users: Sequence[User] = ()) -> Outcome:
    """Cut all subscriptions at the cache, as a fail-over does, while sockets are open; then everybody asks over them.

    Sockets that answer pings and get no events any more are the sign of a listener that did not come back (fault W14).
    """
    party = list(users) or probe.users
    if not probe.rules.lab:
        probe.notes.withhold(ONLY_LAB)
        return Outcome(act=ACT, users=names(party), missing=ONLY_LAB)
    if probe.cache is None:
        return Outcome(act=ACT, users=names(party), missing="access to the cache")
    async with tabs(party) as sockets:
        runs = await everybody_asks(party, sockets)
        # Whoever else investigates this lab would be disturbed as well.
        await probe.turn.alone()
        try:
            probe.history.observe(actions.DISTURB, detail={"what": "interrupt", "target": "subscriptions at the cache"})
            await probe.cache.cut_subscriptions()
            await asyncio.gather(*(socket.fence() for socket in sockets.values()))
            runs += await everybody_asks(party, sockets)
        finally:
            await probe.turn.measured()
    return Outcome(act=ACT, users=names(party), counts={"asked": len(runs), "answered": answered(runs)})
