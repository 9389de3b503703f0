"""The same requests with nobody else there, with others, and with others who have other secrets: the same answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.checkers.noninterference import ALONE, OTHERS, SECRETS, VARIANT
from netra_probe.clients.replies import Answered
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Route
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What goes on in the background, and is another answer by itself a moment later.
_BACKGROUND = re.compile(r"export|report|job|task|backup|digest", re.IGNORECASE)
#: Equal parts of each variant: what differs between those is noise.
PARTS = 2


@workload(Mode.PROBE, "creating objects", title="Reads with and without other users")
async def compare_reads(
    probe: Investigation, watcher: User, others: Sequence[User] = (), *, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """One user reads all that is theirs: alone, while others fill their stores, and again after they have.

    >>> await compare_reads(probe, alice)   # doctest: +SKIP
    Reads with and without other users (alice, bob, carol): 12 routes, 72 read

    The watcher's own data is the same throughout, so that every difference is somebody else's doing: a total that
    counts them, a list that ranks them, a cache that was filled by them. ``checkers.noninterference`` compares.
    Triggers fault D3, and shows it also where not one foreign row is listed. Work that goes on in the background is
    left out, since it changes by itself.
    """
    others = list(others) or [user for user in probe.users if user is not watcher]
    party = (watcher, *others)
    walk = ApiCrawler(
        probe, await survey(probe), party, budget=budget or Budget(), backend=backend, act="compare_reads"
    )
    read = 0
    try:
        await walk.create_all(watcher.name, runs=False)
        routes = [
            route
            for route in walk.routes
            if route.reads and (watcher.name, route.name) in walk.answered and not _BACKGROUND.search(route.path)
        ]
        for variant in (ALONE, OTHERS, SECRETS):
            for part in range(PARTS):
                probe.history.observe(VARIANT, detail={"variant": variant})
                if variant != ALONE and part == 0:
                    await probe.together(walk.create_all(user.name, runs=False) for user in others)
                else:
                    await probe.together(_read(walk, user, routes) for user in others if variant != ALONE)
                read += await _read(walk, watcher, routes)
    finally:
        await walk.close()
    if not routes:
        return Outcome(users=names(party), missing="routes that return the user's own data")
    return Outcome(users=names(party), counts={"routes": len(routes), "read": read})


async def _read(walk: ApiCrawler, user: User, routes: Sequence[Route]) -> int:
    """Read by each of the routes what the user knows to be theirs; how often it was answered."""
    read = 0
    for route in routes:
        if (user.name, route.name) in walk.answered:
            arguments = walk.answered[user.name, route.name][0]
            read += isinstance(await walk.send(user.name, route, arguments), Answered)
    return read
