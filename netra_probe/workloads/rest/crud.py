"""Everything that an interface keeps for a user: written, read back and deleted, by one or by many in one instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_probe.clients.replies import Answered
from netra_probe.investigation.survey import survey
from netra_probe.openapi.objects import Thing
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


#: The share of a budget that is kept for reading what was made.
READING = 0.5


@workload(Mode.PROBE, "creating objects", title="Create and read everything")
async def create_and_read_all(
    probe: Investigation, users: Sequence[User] = (), *, rounds: int = 1, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Everybody makes one of everything that can be made, then reads all there is of theirs, in the same instant.

    >>> await create_and_read_all(probe)   # doctest: +SKIP
    Create and read everything (alice, bob, carol): 21 made, 21 read back

    In every text goes a fresh secret of its writer, so that each answer tells whose it is. What is read has just been
    written by several at once: nothing comes from a cache that was filled in peace. Triggers fault D3; with several
    users at once whatever a context, a cache or a connection gives to the wrong one (faults K1, P1, X1).

    Arguments:
        rounds: how often everybody reads everything; what was made has to be found again each time.
        backend: the one that all of them use.
    """
    party = list(users) or probe.users
    walk = ApiCrawler(
        probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend, act="create_and_read_all"
    )
    try:
        # What is made and not read shows nothing: half of the budget is for reading.
        walk.purse.reserved = READING
        await probe.together(walk.create_all(user.name, runs=False) for user in party)
        walk.purse.reserved = 0.0
        read = [text for _ in range(rounds) for text in await probe.together(_read_all(walk, user) for user in party)]
        made = [(number, thing.id) for number, user in enumerate(party) for thing in _made(walk, user)]
    finally:
        await walk.close()
    if not made:
        return Outcome(users=names(party), missing="anything that is stored for a user")
    found = sum(all(id in text for text in read[number :: len(party)]) for number, id in made)
    if not found:
        probe.notes.limit(f"create_and_read_all: {len(made)} objects were created, and none of them was read back")
    return Outcome(users=names(party), counts={"made": len(made), "read back": found})


@workload(Mode.PROBE, "deleting what was made", title="Create and delete everything")
async def delete_all(
    probe: Investigation, users: Sequence[User] = (), *, backend: int = 0, budget: Budget | None = None
) -> Outcome:
    """Everybody makes one of everything, deletes all of it that can be deleted, and looks for it once more.

    >>> await delete_all(probe)   # doctest: +SKIP
    Create and delete everything (alice, bob, carol): 21 made, 6 deleted, 0 still returned afterwards

    All do so in the same instant: one user's deletion neither spares nor takes what is another's. Each thing is asked
    for by its id before and after, and afterwards by nobody as well: ``checkers.authorisation`` judges.
    """
    party = list(users) or probe.users
    walk = ApiCrawler(
        probe, await survey(probe), tuple(party), budget=budget or Budget(), backend=backend, act="delete_all"
    )
    try:
        walk.purse.reserved = READING
        await probe.together(walk.create_all(user.name, runs=False) for user in party)
        walk.purse.reserved = 0.0
        made = sum(len(_made(walk, user)) for user in party)
        gone = await probe.together(_delete_all(walk, user) for user in party)
        left = await probe.together(_read_all(walk, user) for user in party)
    finally:
        await walk.close()
    if not any(gone):
        return Outcome(users=names(party), missing="anything that can be deleted")
    shown = sum(id in text for ids, text in zip(gone, left, strict=True) for id in ids)
    counts = {"made": made, "deleted": sum(map(len, gone)), "still returned afterwards": shown}
    return Outcome(users=names(party), counts=counts)


async def _delete_all(walk: ApiCrawler, user: User) -> list[str]:
    """Delete what the user has made, parts before the whole; the ids of what was deleted."""
    gone = []
    for route in sorted((route for route in walk.routes if route.method == "DELETE"), key=lambda r: -r.path.count("/")):
        for _ in range(len(_made(walk, user))):
            arguments = walk.fill(route, user.name)
            thing = arguments.aim if arguments is not None else None
            if arguments is None or thing is None or not thing.made:
                break
            reader = next((other for other in walk.routes if other.reads and other.path == route.path), None)
            if reader is not None:
                await walk.send(user.name, reader, arguments, mark={"object": thing.aim})
            if not await walk.call(user.name, route, arguments, aim=thing):
                break
            gone.append(thing.id)
            walk.things.forget(thing)
            for who, attempt in ((user.name, "use after delete"), (None, "no token")):
                if reader is None:
                    break
                mark = {"attempt": attempt, "object": thing.aim, "owner": user.name, "expect": "refused"}
                await walk.send(who, reader, arguments, mark=mark)
    return gone


def _made(walk: ApiCrawler, user: User) -> list[Thing]:
    return [thing for thing in walk.things.of(user.name) if thing.made]


async def _read_all(walk: ApiCrawler, user: User) -> str:
    """Everything that the user could read once, read again: all that was answered."""
    texts = []
    for route in walk.routes:
        known = walk.answered.get((user.name, route.name))
        if route.reads and known is not None:
            arguments = known[0]
            mark = {"object": arguments.aim.aim} if arguments.aim is not None else None
            reply = await walk.send(user.name, route, arguments, mark=mark)
            texts.append(str(reply.body) if isinstance(reply, Answered) else "")
    return "\n".join(texts)
