"""An address changes hands: what the former user had must not come to the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.clients.replies import Answered
from netra_probe.investigation.survey import survey
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.rebirth import NotReborn, Reborn, register_again
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation


@workload(Mode.ATTACK, "registering a removed address again", title="A removed address registered again")
async def reuse_address(probe: Investigation, *, backend: int = 0, budget: Budget | None = None) -> Outcome:
    """Somebody makes one of everything and goes for good; the address is registered again, and the new user looks.

    >>> await reuse_address(probe)   # doctest: +SKIP
    A removed address registered again (dave, erin): 1 accounts, 14 own reads, 6 former ids refused

    The new user lists, creates objects of their own, lists again, and asks for what the former one had by its ids. In a
    lab, where nothing of it matters, it is done once more with the account removed and the data left where it was.
    Triggers fault D7.
    """
    found = await survey(probe)
    walk = ApiCrawler(probe, found, (), budget=budget or Budget(), backend=backend, act="reuse_address")
    party, read, refused = [], 0, 0
    try:
        for erasing in (True, False) if probe.rules.lab else (True,):
            reborn = await register_again(probe, walk, erasing=erasing)
            party += [reborn.former, reborn.user]
            await walk.read(reborn.user.name)
            await walk.create_all(reborn.user.name, runs=False)
            counts = await _look(walk, reborn)
            read, refused = read + counts[0], refused + counts[1]
    except NotReborn as reason:
        if not party:
            return Outcome(users=(), missing=f"an address that can be used again: {reason}")
    finally:
        await walk.close()
    counts_of = {"accounts": len(party) // 2, "own reads": read, "former ids refused": refused}
    return Outcome(users=names(party), counts=counts_of)


async def _look(walk: ApiCrawler, reborn: Reborn) -> tuple[int, int]:
    """What the new user is shown of their own, and how many ids of the former one's are refused."""
    read = refused = 0
    former, user = reborn.former.name, reborn.user.name
    for route in walk.routes:
        if not route.reads or (former, route.name) not in walk.answered:
            continue
        arguments = walk.answered[former, route.name][0]
        if not route.braces:
            read += isinstance(await walk.send(user, route, arguments), Answered)
        elif arguments.aim is not None and walk.things.is_private(arguments.aim):
            mark = {"attempt": "id of before", "object": arguments.aim.aim, "owner": former, "expect": "refused"}
            refused += not await walk.send(user, route, arguments, mark=mark)
    return read, refused
