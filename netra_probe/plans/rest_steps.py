"""Steps over HTTP: the owner's own use, and everybody else's reach for what is the owner's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from netra_probe.clients.http import Http
from netra_probe.clients.replies import Reply
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments, missing
from netra_probe.openapi.objects import Thing
from netra_probe.plans.offers import EXECUTE, TOOL
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.steps import Channel, Connection, Disturbance, Place, Principal, Spelling, Step, Timing
from netra_probe.plans.trials import CLAIMING_HEADERS, CLAIMS, claimed, readers, spelling, tool_call
from netra_probe.plans.world import Actor, Impossible, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Servers read bodies in pieces of 65,536 bytes, and go on reading in another task for what is larger.
LARGE = 70_000
PROFILES = ("/api/users/me", "/api/user/me")
#: Names of cookies in which a token may travel.
COOKIE = "access_token"
#: Places beside the path, as attempts name them.
_BESIDE = {Place.QUERY: "query", Place.BODY: "body", Place.ARGUMENT: "arguments of a tool"}
#: Readings of the owner's after an attempt to write.
LOOKS = 2


@dataclass(frozen=True, kw_only=True)
class Act:
    """The one request that a step is about.

    Arguments:
        mark: what the history notes of it.
        headers: beside the credential.
    """

    arguments: Arguments
    mark: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class RestSteps:
    """Takes the steps of a plan that go over HTTP."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.walk = world.walk
        self.routes = {route.name: route for route in world.walk.routes}
        self._lines = 0
        self._keys = 0
        #: Operations and ids with which they have worked for the owner.
        self._controlled: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Another plan begins, which is judged by what is done for it."""
        self._controlled.clear()

    async def take(self, step: Step) -> None:
        """Take one step. Raises Impossible when that cannot be done here."""
        route = self.routes.get(EXECUTE if step.operation.startswith(TOOL) else step.operation)
        if route is None:
            raise Impossible("it is not sent here")
        actor = await self.world.actor(step.principal)
        plain = step.principal is Principal.OWNER and not step.how
        if plain and not step.operation.startswith(TOOL):
            await self._use(route)
            return
        act, thing = await self._act(step, route, actor)
        async with self._over(step, route, actor) as http:
            await self._before(step, route, thing)
            companion = self._companion(step, route, thing)
            await asyncio.gather(self._send(http, route, actor, act, step.channel), *companion)
        if not route.reads and not step.operation.startswith(TOOL):
            await self._look(thing, route)
            await self._see_own(actor)
        if step.place.claims:
            await self._look_at_list(route)

    async def _use(self, route: Route) -> None:
        """The ordinary use by each of the two: the control of everything else, and what teaches ids."""
        walk, world = self.walk, self.world
        await world.furnish(world.owner)
        if route.method == "DELETE":
            arguments = await world.fresh(route)
        elif route.method == "POST" or (world.owner.name, route.name) not in walk.answered:
            filled = walk.fill(route, world.owner.name)
            if filled is None:
                raise Impossible("no id is known that it takes")
            arguments = filled
        else:
            arguments = walk.answered[world.owner.name, route.name][0]
        await walk.call(world.owner.name, route, arguments, aim=arguments.aim, mark={"act": True})
        if route.method == "DELETE" and arguments.aim is not None:
            walk.things.forget(arguments.aim)

    # What is sent

    async def _act(self, step: Step, route: Route, actor: Actor) -> tuple[Act, Thing | None]:
        """The request, and the thing of the owner's that it is about."""
        if step.operation.startswith(TOOL):
            return await self._call_tool(step, route, actor)
        if step.principal is Principal.REGISTERED_AGAIN and step.place in (Place.NOWHERE, Place.PATH):
            return await self._of_before(step, route), None
        if step.timing is Timing.AFTER_DELETE:
            return await self._after_delete(step, route, actor)
        if step.place.claims:
            return await self._claim(step, route, actor), None
        if step.place is Place.KEY:
            return await self._equal_key(route, actor), None
        if step.place in (Place.QUERY, Place.BODY):
            return await self._named(step, route, actor)
        if step.role.has_effect and route.braces and route.method == "DELETE":
            if (self.world.owner.name, route.name) not in self.walk.answered:
                await self._use(route)
            arguments = await self.world.fresh(route)
        else:
            arguments = await self.world.known(route)
        if step.principal.is_owner:
            own = self.walk.fill(route, self.world.owner.name) if route.method == "POST" else arguments
            mark: dict[str, Any] = {"object": arguments.aim.aim} if arguments.aim is not None else {}
            if step.channel is not Channel.HEADER and route.reads:
                owner = self.world.owner.name
                mark |= {"attempt": f"own token in {step.channel}", "owner": owner, "expect": owner}
            return Act(arguments=own or arguments, mark={**actor.mark, **mark}), arguments.aim
        if arguments.aim is None:
            if not self.walk.is_personal(self.world.owner.name, route):
                raise Impossible("it answers everybody alike")
            given = self._written_by(actor, route, arguments)
            return Act(arguments=given, mark=self._mark(step, actor, None), headers=actor.headers), None
        thing = self.world.private(arguments)
        await self._control(route, arguments, thing)
        given = self._written_by(actor, route, arguments)
        spelled = spelling(step.spelling, thing.id)
        path = {name: spelled if id == thing.id else id for name, id in arguments.path.items()}
        given = replace(given, path=path)
        return Act(arguments=given, mark=self._mark(step, actor, thing), headers=actor.headers), thing

    async def _call_tool(self, step: Step, route: Route, actor: Actor) -> tuple[Act, Thing | None]:
        """A tool that is given the id of the owner's thread; its caller and the owner give it their own first."""
        walk, tool = self.walk, step.operation.removeprefix(TOOL)
        await self.world.furnish(self.world.owner)
        thing = walk.things.named(self.world.owner.name, "thread_id")
        if thing is None or not walk.things.is_private(thing):
            raise Impossible("no thread is the owner's alone")
        own = Arguments(body=tool_call(tool, thing.id), aims=(thing,))
        if step.principal.is_owner:
            return Act(arguments=own, mark={**actor.mark, "object": thing.aim}), thing
        if step.place is Place.NOWHERE:
            return Act(arguments=own, mark={**actor.mark, "attempt": actor.refused, "expect": "refused"},
                       headers=actor.headers), None  # fmt: skip
        for name in (self.world.owner.name, actor.name):
            known = walk.things.named(name, "thread_id") if name is not None else None
            if name is not None and known is not None and (step.operation, known.id) not in self._controlled:
                self._controlled.add((step.operation, known.id))
                await walk.send(name, route, Arguments(body=tool_call(tool, known.id)), mark={"object": known.aim})
        mark = {**self._mark(step, actor, thing), "reads": True}
        if actor.user is not None and not actor.refused:
            # A tool may answer its caller, and say that there is nothing.
            mark |= {"expect": actor.name}
        given = Arguments(body=tool_call(tool, spelling(step.spelling, thing.id)), aims=(thing,))
        return Act(arguments=given, mark=mark, headers=actor.headers), thing

    async def _after_delete(self, step: Step, route: Route, actor: Actor) -> tuple[Act, Thing | None]:
        """The thing is made, read, deleted and then asked for once more."""
        walk, owner = self.walk, self.world.owner.name
        arguments = await self.world.fresh(route)
        thing = self.world.private(arguments)
        removal = self.routes.get(step.removal)
        filled = walk.fill(removal, owner) if removal is not None else None
        if removal is None or filled is None:
            raise Impossible("what it names cannot be deleted")
        await walk.call(owner, route, arguments, aim=thing)
        if not await walk.call(
            owner, removal, replace(filled, path={removal.braces[-1]: thing.id}, aims=(thing,)), aim=thing
        ):
            raise Impossible("what it names cannot be deleted")
        walk.things.forget(thing)
        mark = {"attempt": "use after delete", "object": thing.aim, "owner": owner, "expect": "refused"}
        if actor.refused:
            mark["attempt"] = f"{actor.refused}, use after delete"
        return Act(arguments=arguments, mark={**actor.mark, **mark}, headers=actor.headers), None

    async def _of_before(self, step: Step, route: Route) -> Act:
        """What the former user of one's address had: it is not shown with one's own, and refused by its id."""
        reborn, walk = await self.world.reborn(), self.walk
        whose = reborn.former.name if step.place is Place.PATH else reborn.user.name
        arguments = walk.fill(route, reborn.user.name, whose=whose)
        if arguments is None:
            raise Impossible("no id is known that it takes")
        if step.place is Place.NOWHERE:
            return Act(arguments=arguments, mark={})
        thing = self.world.private(arguments)
        spelled = {name: spelling(step.spelling, id) if id == thing.id else id for name, id in arguments.path.items()}
        mark = {"attempt": "id of before", "object": thing.aim, "owner": whose, "expect": "refused"}
        return Act(arguments=replace(arguments, path=spelled), mark=mark)

    async def _named(self, step: Step, route: Route, actor: Actor) -> tuple[Act, Thing | None]:
        """A foreign id beside the path: the owner names it first, as the control."""
        walk, owner = self.walk, self.world.owner.name
        await self.world.known(route)
        place = "query" if step.place is Place.QUERY else "body"
        for where, name, thing in walk.filler(route).named(route, owner):
            own = walk.fill(route, owner)
            if where != place or own is None or not walk.things.is_private(thing):
                continue
            naming = walk.filler(route).naming(own, place, name, thing)
            if not await walk.call(owner, route, naming, aim=thing):
                continue
            given = walk.fill(route, actor.name, whose=owner) or own
            given = walk.filler(route).naming(given, place, name, thing)
            spelled = spelling(step.spelling, thing.id)
            if place == "query":
                given = replace(given, query={**given.query, name: spelled})
            return Act(arguments=given, mark=self._mark(step, actor, thing), headers=actor.headers), thing
        raise Impossible("nothing of the owner's fits there")

    async def _claim(self, step: Step, route: Route, actor: Actor) -> Act:
        """One's own request that says, beside its credential, that one is the owner."""
        walk, owner = self.walk, self.world.owner
        await self.world.known(route)
        if not walk.is_personal(owner.name, route):
            raise Impossible("it answers everybody alike")
        user = actor.user or self.world.other
        await self.world.furnish(user)
        own = walk.fill(route, user.name)
        if own is None or (user.name, route.name) not in walk.answered:
            raise Impossible("the ordinary request of whoever claims is refused")
        await self._look_at_list(route, control=True)
        claims, headers = dict.fromkeys(CLAIMS, owner.id), dict(actor.headers)
        if step.place is Place.CLAIM_QUERY:
            own = replace(own, query={**own.query, **claims})
        elif step.place is Place.CLAIM_HEADER:
            headers |= dict.fromkeys(CLAIMING_HEADERS, owner.id)
        elif isinstance(own.body, dict):
            own = replace(own, body=claimed(own.body, claims))
        mark: dict[str, Any] = {
            **actor.mark,
            "attempt": ", ".join(filter(None, (actor.refused, str(step.place)))),
            "expect": actor.name or "refused",
        }
        if actor.user is not None:
            mark |= {"owner": owner.name}
            # An object that nobody reads afterwards would only raise a doubt.
            mark |= {"object": self._list_of(route)} if route.reads or self._lists_of(route) else {}
        return Act(arguments=own, mark=mark, headers=headers)

    async def _equal_key(self, route: Route, actor: Actor) -> Act:
        """One's own request with the key under which the owner has just sent one: each must get their own answer."""
        owner, user = self.world.owner, actor.user or self.world.other
        await self.world.furnish(owner)
        first, own = self.walk.fill(route, owner.name), self.walk.fill(route, user.name)
        if first is None or own is None:
            raise Impossible("no id is known that it takes")
        self._keys += 1
        headers = {"Idempotency-Key": f"netra-probe-{self.world.probe.mark}-{self._keys}"}
        if not await self.walk.send(owner.name, route, first, headers=headers):
            raise Impossible("its owner is refused, too")
        tried = ", ".join(filter(None, (actor.refused, "equal idempotency key")))
        mark = {**actor.mark, "attempt": tried, "owner": owner.name, "expect": actor.name or "refused"}
        if actor.refused:
            mark |= {"expect": "refused"}
        return Act(arguments=own, mark=mark, headers={**actor.headers, **headers})

    async def _control(self, route: Route, arguments: Arguments, thing: Thing) -> None:
        """The owner does the same with the same thing, once: that others are refused says nothing without it."""
        if route.method == "DELETE" or (route.name, thing.id) in self._controlled:
            return
        own = self.walk.fill(route, self.world.owner.name) if arguments.body is not None else arguments
        given = replace(arguments, body=own.body) if own is not None else arguments
        if not await self.walk.call(self.world.owner.name, route, given, aim=thing):
            raise Impossible("its owner is refused, too")
        self._controlled.add((route.name, thing.id))

    def _mark(self, step: Step, actor: Actor, thing: Thing | None) -> dict[str, Any]:
        """What the history notes of an attempt: what is tried, on what, whose that is."""
        tried = actor.refused or "foreign id"
        if not actor.refused and step.place in _BESIDE:
            tried = f"foreign id in the {_BESIDE[step.place]}"
        if step.spelling is Spelling.MISSING and thing is not None:
            nobodys = {"kind": thing.kind, "id": missing(thing.id)}
            return {**actor.mark, "attempt": "missing id", "object": nobodys, "expect": "refused"}
        if step.spelling is not Spelling.ID:
            tried += f", {step.spelling}"
        if step.channel is not Channel.HEADER:
            tried += f", token in {step.channel}"
        mark: dict[str, Any] = {"attempt": tried, "expect": "refused", **actor.mark}
        if thing is not None:
            mark |= {"object": thing.aim}
            # The end of a credential is judged by itself; whose the object is would make it a matter of ids.
            if step.principal is not Principal.ENDED:
                mark |= {"owner": self.world.owner.name}
        return mark

    def _written_by(self, actor: Actor, route: Route, arguments: Arguments) -> Arguments:
        """The same request with what this actor would write in it."""
        if arguments.body is None:
            return arguments
        own = self.walk.fill(route, actor.name, whose=self.world.owner.name)
        return arguments if own is None else replace(arguments, body=own.body)

    async def _send(self, http: Http, route: Route, actor: Actor, act: Act, channel: Channel) -> Reply | None:
        if not await self.walk.purse.acquire():
            return None
        headers, query, token = dict(act.headers), dict(act.arguments.query), actor.token
        if channel is not Channel.HEADER and actor.user is not None:
            shown = token or actor.user.auth.access
            if shown is None:
                raise Impossible("there is no token to carry")
            if channel is Channel.COOKIE:
                headers["Cookie"] = f"{COOKIE}={shown.reveal()}"
            else:
                query["token"] = shown.reveal()
        bare = actor.user is None or channel is not Channel.HEADER
        shared = http.user is None and actor.user is not None
        return await http.request(
            route.method,
            route.path,
            path=act.arguments.path,
            query=query or None,
            json=act.arguments.body,
            headers=headers,
            token=None if bare else token or (actor.user.rest.http.token if shared and actor.user else None),
            anonymous=bare,
            principal=actor.name if shared else None,
            attempt={**act.mark, "act": True},
        )

    # Over what, beside what

    @asynccontextmanager
    async def _over(self, step: Step, route: Route, actor: Actor) -> AsyncIterator[Http]:
        """The connection that a step goes over."""
        world, walk = self.world, self.walk
        if step.connection is Connection.OWN:
            yield world.client(actor, route)
            return
        if step.connection in (Connection.SHARED, Connection.AFTER_LARGE):
            http = await self._line(large=step.connection is Connection.AFTER_LARGE)
        else:
            shift = int(step.connection is Connection.OTHER_BACKEND)
            number = (world.owner.backend_number + shift) % len(world.probe.target.backend_urls)
            if route.service == "auth":
                http = world.probe.wire.http(world.probe.target.auth_url, surface="auth", user=actor.name)
                http.token = actor.user.auth.access if actor.user is not None else None
            elif actor.user is not None:
                http = backend_client(world.probe, actor.user, number).http
            else:
                url = world.probe.target.backend_urls[number]
                http = walk.probe.wire.http(url, surface="rest", backend=f"backend-{number + 1}")
        try:
            yield http
        finally:
            await http.close()

    async def _line(self, *, large: bool) -> Http:
        """One connection that the owner has just used, with a large body where that is wanted."""
        world = self.world
        profile = supported_route(world.probe, "PUT", *PROFILES) if large else ""
        if large and not profile:
            raise Impossible("nothing takes a large body")
        self._lines += 1
        number = world.owner.backend_number
        http = world.probe.wire.http(
            world.probe.target.backend_urls[number],
            surface="rest",
            backend=f"backend-{number + 1}",
            pinned=f"explored-line-{self._lines}/rest",
        )
        own: dict[str, Any] = {"token": world.owner.rest.http.token, "principal": world.owner.name}
        if large and await self.walk.purse.acquire():
            await http.request("PUT", profile, json={"preferences": {"blob": "x" * LARGE}}, **own)
        for reader, arguments in self._lists()[:1]:
            if await self.walk.purse.acquire():
                await http.request("GET", reader.path, query=arguments.query or None, **own)
        return http

    def _lists(self, user: str = "") -> list[tuple[Route, Arguments]]:
        """How the owner, or this user, reads what is their own, without naming anything."""
        walk, name = self.walk, user or self.world.owner.name
        return [
            (route, walk.answered[name, route.name][0])
            for route in walk.routes
            if route.reads and not route.braces and route.service == "backend" and walk.is_personal(name, route)
        ]

    async def _see_own(self, actor: Actor) -> None:
        """Whoever writes looks at what is their own, once: that they see nobody else's says nothing without it."""
        if actor.name is None or actor.refused or ("own", actor.name) in self._controlled:
            return
        self._controlled.add(("own", actor.name))
        for reader, arguments in self._lists(actor.name)[:LOOKS]:
            await self.walk.send(actor.name, reader, arguments)

    async def _before(self, step: Step, route: Route, thing: Thing | None) -> None:
        """The owner looks what is there; a request of the owner's is broken off."""
        if step.role.has_effect and not step.principal.is_owner:
            await self._look(thing, route)
        if step.disturbance is Disturbance.CANCELLED:
            http = self.walk.client(self.world.owner.name, "backend")
            for reader, arguments in self._lists()[:1]:
                if await self.walk.purse.acquire():
                    await http.abandon("GET", reader.path, query=arguments.query or None)

    def _companion(self, step: Step, route: Route, thing: Thing | None) -> list[Awaitable[Any]]:
        """What the owner does in the same instant."""
        if step.timing is not Timing.SAME_INSTANT:
            return []
        known = self.walk.answered.get((self.world.owner.name, route.name))
        if route.reads and known is not None:
            arguments = known[0]
            mark = {"object": arguments.aim.aim} if arguments.aim is not None else None
            return [self.walk.send(self.world.owner.name, route, arguments, mark=mark)]
        reads = self._ways(thing, route)[:1] or self._lists()[:1]
        return [self.walk.send(self.world.owner.name, reader, arguments) for reader, arguments in reads]

    # What became of it

    def _ways(self, thing: Thing | None, route: Route) -> list[tuple[Route, Arguments]]:
        return readers(self.walk, self.world.owner.name, thing, route) if thing is not None else []

    async def _look(self, thing: Thing | None, route: Route) -> None:
        for reader, arguments in self._ways(thing, route)[:LOOKS]:
            assert thing is not None
            await self.walk.send(self.world.owner.name, reader, arguments, mark={"object": thing.aim})

    def _list_of(self, route: Route) -> dict[str, str]:
        return {"kind": "list", "id": f"{route.path} of {self.world.owner.name}"}

    async def _look_at_list(self, route: Route, *, control: bool = False) -> None:
        """The owner's own request of the same kind, and what the owner is shown in the same place."""
        walk, owner = self.walk, self.world.owner.name
        mark = {"object": self._list_of(route)}
        if control and (route.braces or not route.reads):
            arguments = walk.answered[owner, route.name][0] if route.reads else walk.fill(route, owner)
            if arguments is not None:
                await walk.send(owner, route, arguments, mark=mark)
        for reader in self._lists_of(route):
            await walk.send(owner, reader, walk.answered[owner, reader.name][0], mark=mark)

    def _lists_of(self, route: Route) -> list[Route]:
        """How the owner reads what stands in the same place."""
        path = route.path if not route.braces else route.prefix(route.braces[-1])
        return [
            reader
            for reader in self.walk.routes
            if reader.reads and reader.path == path and (self.world.owner.name, reader.name) in self.walk.answered
        ]
