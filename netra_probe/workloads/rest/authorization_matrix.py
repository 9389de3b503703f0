"""Users × operations × objects: whoever is not the owner reads nothing, changes nothing, deletes nothing.

What a target offers is read from its own description; both users first do everything on objects of their own, which
teaches the ids and is the positive control of what follows. Then every operation that takes an id, or answers with
somebody's own things, is tried on the owner's by the other user, by nobody, and with a credential that is none. The
owner reads again after every attempt to write. ``checkers.authorisation`` judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from netra_probe.clients.replies import Answered
from netra_probe.forgery.tokens import with_other_signature
from netra_probe.history.secret import Secret
from netra_probe.investigation.survey import survey
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments, missing
from netra_probe.openapi.objects import Thing
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.trials import CLAIMING_HEADERS, CLAIMS, claimed, readers
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Readings of one thing by its owner after an attempt; C5 looks at no more.
MOST_READINGS = 4
WRITING = ("POST", "PUT", "PATCH", "DELETE")
#: Why a case stays open.
SPENT = "the budget of trespass was spent before every operation was tried; do it again to go on, or raise its budget"


@workload(Mode.ATTACK, "reaching for other users' objects", title="Operations on another user's objects")
async def trespass(probe: Investigation, *, owner: User, intruder: User, budget: Budget | None = None) -> Outcome:
    """Try every operation on what belongs to somebody else.

    >>> await trespass(probe, owner=alice, intruder=bob)   # doctest: +SKIP
    Operations on another user's objects (alice, bob): 34 operations, 21 objects, 160 attempts

    Only what the probe created is written or deleted. Triggers faults D1, D2, D3 and A9, and whatever else lets
    one user reach another's objects over REST.

    Where the budget does not suffice the case stays inconclusive until the act is done again, which goes on where it
    stopped.

    Arguments:
        budget: most requests, seconds, and requests a second.
    """
    walk = ApiCrawler(
        probe, await survey(probe), (owner, intruder), budget=budget or Budget(), backend=owner.backend_number
    )
    matrix = _Matrix(walk, owner=owner, intruder=intruder)
    finished = probe.finished.setdefault(("trespass", owner.name, intruder.name), set())

    async def each(routes: Iterable[Route], judge: Callable[[Route], Awaitable[None]]) -> None:
        for route in routes:
            if route.name not in finished and not walk.purse.empty:
                await judge(route)
                if not walk.purse.empty:
                    finished.add(route.name)

    try:
        for user in (owner, intruder):
            await walk.create_all(user.name)
        things = sum(1 for _ in walk.things.of(owner.name))
        await each((route for route in walk.routes if route.reads), matrix.reading)
        await each((route for route in walk.routes if route.method in ("POST", "PUT", "PATCH")), matrix.writing)
        deepest_first = sorted(walk.routes, key=lambda route: -route.path.count("/"))
        await each((route for route in deepest_first if route.method == "DELETE"), matrix.deleting)
    finally:
        await walk.close()
    counts = {"operations": len(matrix.tried), "objects": things, "attempts": sum(matrix.tried.values())}
    if left := sum(route.name not in finished for route in walk.routes if route.reads or route.method in WRITING):
        counts["skipped (request limit)"] = left
        probe.notes.limit(SPENT)
    else:
        probe.notes.lift(SPENT)
    if not matrix.tried and not left:
        return Outcome(users=(owner.name, intruder.name), missing="operations on a user's own objects")
    return Outcome(users=(owner.name, intruder.name), counts=counts)


class _Matrix:
    """One owner, one intruder, and nobody: who may do what to what is the owner's."""

    def __init__(self, walk: ApiCrawler, *, owner: User, intruder: User) -> None:
        self.tried: Counter[str] = Counter()
        self._walk = walk
        self._owner, self._intruder = owner.name, intruder.name
        self._owner_id = owner.id
        own = owner.auth.access
        self._forged = with_other_signature(own, slice(-8, None)) if own is not None else None

    # Reading

    async def reading(self, route: Route) -> None:
        """The owner reads; then the others try to."""
        walk = self._walk
        known = walk.answered.get((self._owner, route.name))
        if known is None:
            return
        arguments = known[0]
        if arguments.aim is not None:
            if walk.things.is_private(arguments.aim):
                await self._reach(route, arguments, arguments.aim)
                await self._miss(route, arguments, arguments.aim)
        elif walk.is_personal(self._owner, route):
            await self._without_credentials(route, arguments, None)
            await self._claim(route, arguments)
        for place, name, thing in walk.filler(route).named(route, self._owner):
            if place == "query" and walk.things.is_private(thing):
                naming = walk.filler(route).naming(arguments, place, name, thing)
                if await walk.call(self._owner, route, naming, aim=thing):
                    await self._reach(route, naming, thing)

    # Writing

    async def writing(self, route: Route) -> None:
        """The owner writes; then the others try to, and the owner looks what has become of it."""
        walk = self._walk
        for user in (self._owner, self._intruder):
            done = (user, route.name) in walk.answered
            # What was to be made first of all may have needed ids that only came to be known since.
            again = route.method != "POST" or bool(walk.filler(route).named(route, user))
            arguments = walk.fill(route, user) if not done and again else None
            if arguments is not None:
                await walk.call(user, route, arguments, aim=arguments.aim)
        known = walk.answered.get((self._owner, route.name))
        if known is None:
            return
        arguments = known[0]
        if arguments.aim is None:
            await self._without_credentials(route, arguments, None)
            await self._claim(route, arguments)
        elif walk.things.is_private(arguments.aim):
            await self._between_readings(route, arguments, arguments.aim)
            if walk.answered.get((self._intruder, route.name)) is not None:
                await self._claim(route, walk.answered[self._intruder, route.name][0])
        for place, name, thing in walk.filler(route).named(route, self._owner):
            fresh = walk.fill(route, self._owner)
            if fresh is not None and thing.made and walk.things.is_private(thing):
                naming = walk.filler(route).naming(fresh, place, name, thing)
                if await walk.call(self._owner, route, naming, aim=thing):
                    await self._between_readings(route, naming, thing, place=place, name=name)

    async def _between_readings(
        self, route: Route, arguments: Arguments, thing: Thing, *, place: str = "", name: str = ""
    ) -> None:
        """Attempts to write, with the owner looking before and after."""
        await self._look(thing, route)
        await self._reach(route, arguments, thing, place=place, name=name)
        await self._look(thing, route)

    async def _look(self, thing: Thing, route: Route) -> bool:
        """The owner reads a thing by every way that names it, first where the route would have written."""
        seen = False
        for reader, arguments in readers(self._walk, self._owner, thing, route)[:MOST_READINGS]:
            seen = isinstance(await self._walk.send(
                self._owner, reader, arguments, mark={"object": thing.aim}
            ), Answered) or seen  # fmt: skip
        return seen

    # Deleting

    async def deleting(self, route: Route) -> None:
        """The intruder deletes their own; the others try the owner's; the owner deletes it, and it stays gone."""
        walk = self._walk
        arguments = walk.fill(route, self._owner)
        thing = arguments.aim if arguments is not None else None
        if arguments is None or thing is None or not thing.made or not walk.things.is_private(thing):
            return
        own = walk.fill(route, self._intruder)
        if own is None or own.aim is None or not own.aim.made:
            return
        if await walk.call(self._intruder, route, own, aim=own.aim):
            walk.things.forget(own.aim)
            for user, attempt, token in self._others("foreign id"):
                # One look after each: what is gone was deleted by the one who tried last.
                if await self._look(thing, route):
                    mark = {"attempt": attempt, "object": thing.aim, "owner": self._owner, "expect": "refused"}
                    await self._attempt(user, route, arguments, mark, token=token)
            await self._look(thing, route)
        if await walk.call(self._owner, route, arguments, aim=thing):
            for reader, asked in readers(self._walk, self._owner, thing, route):
                if reader.braces and asked.aim is not None and asked.aim.id == thing.id and reader.path == route.path:
                    await walk.send(self._owner, reader, asked)
            walk.things.forget(thing)

    # Attempts

    async def _reach(
        self, route: Route, arguments: Arguments, thing: Thing, *, place: str = "", name: str = ""
    ) -> None:
        """Everybody but the owner tries the owner's thing."""
        where = f"foreign id in the {place}" if place else "foreign id"
        for user, attempt, token in self._others(where):
            given = self._as_written_by(user, route, arguments, place=place, name=name, thing=thing)
            mark = {"attempt": attempt, "object": thing.aim, "owner": self._owner, "expect": "refused"}
            await self._attempt(user, route, given, mark, token=token)

    async def _without_credentials(self, route: Route, arguments: Arguments, thing: Thing | None) -> None:
        for user, attempt, token in self._others("")[1:]:
            given = self._as_written_by(user, route, arguments)
            await self._attempt(user, route, given, {"attempt": attempt, "expect": "refused"}, token=token)

    async def _miss(self, route: Route, arguments: Arguments, thing: Thing) -> None:
        """An id that nobody has: what is refused differently tells which ids exist."""
        nobodys = missing(thing.id)
        path = {name: nobodys if id == thing.id else id for name, id in arguments.path.items()}
        mark = {"attempt": "missing id", "object": {"kind": thing.kind, "id": nobodys}, "expect": "refused"}
        await self._attempt(self._intruder, route, Arguments(path=path, query=arguments.query), mark)

    async def _claim(self, route: Route, arguments: Arguments) -> None:
        """The intruder's own request, saying beside its credential that it is the owner's."""
        walk = self._walk
        list_of = {"kind": "list", "id": f"{route.path} of {self._owner}"}
        if (self._intruder, route.name) not in walk.answered:
            return
        await self._owners_list(route, list_of, control=True)
        for where, given, headers in self._claiming(route):
            mark = {
                "attempt": f"user id in the {where}", "object": list_of, "owner": self._owner, "expect": self._intruder,
            }  # fmt: skip
            await self._attempt(self._intruder, route, given, mark, headers=headers)
        await self._owners_list(route, list_of, control=False)

    def _claiming(self, route: Route) -> Iterator[tuple[str, Arguments, dict[str, str]]]:
        claims = dict.fromkeys(CLAIMS, self._owner_id)
        own = self._walk.fill(route, self._intruder)
        if own is None:
            return
        if route.reads:
            yield "query", Arguments(path=own.path, query={**own.query, **claims}), {}
            yield "headers", own, dict.fromkeys(CLAIMING_HEADERS, self._owner_id)
        elif isinstance(own.body, dict):
            yield "body", Arguments(path=own.path, query=own.query, body=claimed(own.body, claims)), {}

    async def _owners_list(self, route: Route, list_of: dict[str, str], *, control: bool) -> None:
        """The owner's own request of the same kind, and what the owner is shown in the same place."""
        walk = self._walk
        if control and not route.reads:
            arguments = walk.fill(route, self._owner)
            if arguments is not None:
                await walk.send(self._owner, route, arguments, mark={"object": list_of})
        for reader in walk.routes:
            path = route.path if not route.braces else route.prefix(route.braces[-1])
            if reader.reads and reader.path == path and (self._owner, reader.name) in walk.answered:
                await walk.send(
                    self._owner, reader, walk.answered[self._owner, reader.name][0], mark={"object": list_of}
                )

    def _others(self, foreign: str) -> list[tuple[str | None, str, Secret | None]]:
        others: list[tuple[str | None, str, Secret | None]] = [
            (self._intruder, foreign, None),
            (None, "no token", None),
        ]
        return [*others, (None, "changed signature", self._forged)] if self._forged is not None else others

    def _as_written_by(
        self,
        user: str | None,
        route: Route,
        arguments: Arguments,
        *,
        place: str = "",
        name: str = "",
        thing: Thing | None = None,
    ) -> Arguments:
        """The same request with what this user would write in it."""
        if arguments.body is None:
            return arguments
        own = self._walk.fill(route, user, whose=self._owner)
        if own is None:
            return arguments
        if place and thing is not None:
            own = self._walk.filler(route).naming(own, place, name, thing)
        return Arguments(path=arguments.path, query=arguments.query, body=own.body, aims=arguments.aims)

    async def _attempt(
        self,
        user: str | None,
        route: Route,
        arguments: Arguments,
        mark: dict[str, Any],
        *,
        token: Secret | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if await self._walk.send(user, route, arguments, mark=mark, token=token, headers=headers) is not None:
            self.tried[route.name] += 1
