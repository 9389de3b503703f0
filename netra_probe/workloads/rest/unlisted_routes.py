"""Routes that no description lists: looked for beside the listed ones, read-only, and tried on another's things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netra_probe.checkers.coverage import SEARCH
from netra_probe.clients.replies import Answered
from netra_probe.history import actions
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.unlisted import neighbours
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Names that are tried, unless the act is given another number.
NAMES = 120
#: A name that nothing has: what answers to it answers to everything.
NOTHING = "netra-probe-nothing"


@workload(Mode.ATTACK, "looking for unlisted routes", title="Names beside the listed routes")
async def search_unlisted(probe: Investigation, *, owner: User, intruder: User, names: int = NAMES) -> Outcome:
    """The owner asks for names beside the listed routes; what answers is asked for by the intruder and by nobody.

    >>> await search_unlisted(probe, owner=alice, intruder=bob)   # doctest: +SKIP
    Names beside the listed routes (alice, bob): 120 names, 1 found, 2 attempts

    Triggers fault D8. The names that were tried stand in the coverage.
    """
    walk = ApiCrawler(
        probe, await survey(probe), (owner, intruder), budget=Budget(requests=10 * names), backend=owner.backend_number
    )
    tried: list[str] = []
    found: list[Route] = []
    attempts = 0
    try:
        for user in (owner, intruder):
            await walk.create_all(user.name, runs=False)
        hollow = {
            path for path in {_parent(route.path) for route in walk.routes} if await _answers_all(walk, owner, path)
        }
        for route in neighbours(walk.routes):
            arguments = walk.fill(route, owner.name)
            if len(tried) >= names:
                break
            if arguments is None or _parent(route.path) in hollow or not probe.rules.of("GET", route.path):
                continue
            tried.append(route.name)
            named = {"object": arguments.aim.aim} if arguments.aim is not None else {}
            reply = await walk.send(owner.name, route, arguments, mark={**named, "unlisted": True})
            if isinstance(reply, Answered) and not reply.page:
                found.append(route)
                attempts += await _reach(walk, route, arguments, owner=owner, intruder=intruder)
    finally:
        probe.history.observe(actions.PLAN, detail={"by": SEARCH, "tried": tried, "found": [one.name for one in found]})
        await walk.close()
    people = (owner.name, intruder.name)
    if not tried:
        return Outcome(users=people, missing="routes to look beside")
    counts = {"names": len(tried), "found": len(found), "attempts": attempts}
    return Outcome(users=people, counts=counts)


async def _reach(walk: ApiCrawler, route: Route, arguments: Arguments, *, owner: User, intruder: User) -> int:
    """The owner's thing, or one's own list, asked for by the other user and by nobody."""
    thing = arguments.aim
    mark: dict[str, Any] = {"attempt": "unlisted route", "owner": owner.name, "expect": "refused"}
    if thing is not None and walk.things.is_private(thing):
        mark |= {"object": thing.aim}
    elif route.braces:
        return 0
    else:
        # In their own list others find their own.
        own = walk.fill(route, intruder.name)
        if own is None:
            return 0
        await walk.send(intruder.name, route, own, mark={**mark, "expect": intruder.name})
        await walk.send(None, route, own, mark={**mark, "attempt": "unlisted route, no token"})
        return 2
    await walk.send(intruder.name, route, arguments, mark=mark)
    await walk.send(None, route, arguments, mark={**mark, "attempt": "unlisted route, no token"})
    return 2


def _parent(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0]


async def _answers_all(walk: ApiCrawler, owner: User, parent: str) -> bool:
    """Whether any name at all is answered here: an id that is made up, or a page for everything."""
    route = Route(service="backend", method="GET", path=f"{parent}/{NOTHING}")
    arguments = walk.fill(route, owner.name)
    return arguments is not None and isinstance(await walk.send(owner.name, route, arguments), Answered)
