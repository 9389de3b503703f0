"""What a cache kept for one user, asked for by the next, by nobody, and by one whose name begins alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netra_probe.clients.replies import Answered
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What stands for anything in patterns of caches, files, SQL and shells.
WILDCARDS = ("*", "%", "?")


@workload(Mode.PROBE, "reading without credentials")
async def read_in_turns(
    probe: Investigation, users: Sequence[User] = (), *, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Everybody reads the same, one right after the other, then nobody in particular does; and all of it backwards.

    What is read has been furnished before, so that no write comes in between and throws a cache away. All of it goes
    to one backend. Triggers faults K1 and K3; a pool that keeps its last borrower's setting (fault P1) shows here as
    well.
    """
    party = list(users) or probe.users
    walk = ApiCrawler(
        probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend, act="read_in_turns"
    )
    try:
        await probe.together(_furnish(walk, user.name) for user in party)
        routes = [route for route in walk.routes if route.reads and not route.braces]
        routes = [route for route in routes if any(walk.is_personal(user.name, route) for user in party)]
        read = refused = 0
        for order in (party, party[::-1]):
            for route in routes:
                for user in order:
                    arguments = walk.answered.get((user.name, route.name), (Arguments(), None))[0]
                    read += isinstance(await walk.send(user.name, route, arguments), Answered)
                mark = {"attempt": "no token", "expect": "refused"}
                arguments = walk.answered.get((order[-1].name, route.name), (Arguments(), None))[0]
                refused += not await walk.send(None, route, arguments, mark=mark)
    finally:
        await walk.close()
    if not routes:
        return Outcome(users=names(party), missing="routes that return the user's own data")
    return Outcome(users=names(party), counts={"routes": len(routes), "read": read, "refused without a token": refused})


async def _furnish(walk: ApiCrawler, user: str) -> None:
    """Make everything, and fill in what is not made but changed: one's own profile and settings."""
    await walk.create_all(user, runs=False)
    for route in walk.routes:
        if route.method in ("PUT", "PATCH") and not route.braces:
            arguments = walk.fill(route, user)
            if arguments is not None:
                await walk.call(user, route, arguments)
                walk.answered.pop((user, f"GET {route.path}"), None)
    await walk.read(user)


@workload(Mode.ATTACK, "asking for patterns instead of ids", title="Reads by a user with a similar address")
async def read_as_neighbour(
    probe: Investigation, like: User, *, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Somebody whose address begins like ``like``'s reads first, then ``like``; and ids that are patterns.

    A key that is looked up by its beginning, or by a pattern with something of the client's in it, finds the
    neighbour's entry. Triggers K2.
    """
    neighbour = next(iter(await probe.recruit(1, beside=like)), None)
    if neighbour is None:
        return Outcome(users=(like.name,), missing="an account for the neighbour")
    party = (neighbour, like)
    walk = ApiCrawler(
        probe, await survey(probe), party, budget=budget or Budget(), backend=backend, act="read_as_neighbour"
    )
    try:
        for user in party:
            await _furnish(walk, user.name)
        routes = [route for route in walk.routes if route.reads and not route.braces]
        routes = [route for route in routes if any(walk.is_personal(user.name, route) for user in party)]
        read = 0
        for order in (party, party[::-1]):
            for route in routes:
                for user in order:
                    arguments = walk.answered.get((user.name, route.name), (Arguments(), None))[0]
                    read += isinstance(await walk.send(user.name, route, arguments), Answered)
        tried = 0
        for route in walk.routes:
            for pattern, kind in _patterns(walk, route, like.name):
                mark = {"attempt": "pattern for an id", "object": {"kind": kind, "id": pattern}, "expect": "refused"}
                arguments = Arguments(path={route.braces[-1]: pattern})
                await walk.send(neighbour.name, route, arguments, mark=mark)
                tried += 1
    finally:
        await walk.close()
    return Outcome(
        users=(like.name, neighbour.name),
        counts={"routes": len(routes), "read": read, "wildcards": tried},
    )


def _patterns(walk: ApiCrawler, route: Route, user: str) -> Iterator[tuple[str, str]]:
    """Patterns that the id of the user's own thing fits, for routes with that one id in their path."""
    known = walk.answered.get((user, route.name))
    if not route.reads or len(route.braces) != 1 or known is None or known[0].aim is None:
        return
    thing = known[0].aim
    yield from ((wildcard, thing.kind) for wildcard in WILDCARDS[:2])
    yield from ((thing.id[:-3] + wildcard, thing.kind) for wildcard in WILDCARDS if len(thing.id) > 4)
