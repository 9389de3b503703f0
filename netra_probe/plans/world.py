"""Everybody and everything that steps need, made when the first of them needs it: users, sessions, things, sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netra_probe.clients.auth import AuthClient
from netra_probe.clients.http import Http
from netra_probe.clients.websocket import Socket
from netra_probe.errors import TargetError
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.openapi import Route
from netra_probe.openapi.arguments import Arguments
from netra_probe.openapi.objects import Thing, collection_of
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.rebirth import NotReborn, Reborn, register_again
from netra_probe.plans.steps import Principal
from netra_probe.plans.tabs import open_tab

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: The grace that the lifecycle checker gives an end of a credential, and a little more.
GRACE = 2.2


class Impossible(Exception):
    """A step cannot be taken here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who takes a step, and what they show.

    Arguments:
        user: whose client it is; ``None`` for nobody's.
        token: shown instead of the client's own.
        headers: shown beside it, or instead.
        mark: what the history notes of the credential.
        refused: the name of the attempt where whatever they ask for must be refused; "" where that depends.
    """

    user: User | None
    token: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    mark: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""

    @property
    def name(self) -> str | None:
        return self.user.name if self.user is not None else None


class World:
    """What two users and their visitors have on a target, as far as it has been made."""

    def __init__(self, probe: Investigation, walk: ApiCrawler, *, owner: User, other: User) -> None:
        self.probe = probe
        self.walk = walk
        self.owner = owner
        self.other = other
        #: Everybody's sockets while others listen, by alias.
        self.sockets: dict[str, Socket] = {}
        self.stack = AsyncExitStack()
        #: Ends of connections that go on beside the steps that follow.
        self._ending: set[asyncio.Task[None]] = set()
        self._furnished: set[str] = set()
        self._namesake: User | None = None
        self._reborn: Reborn | None = None
        self._session: AuthClient | None = None
        self._ended: tuple[AuthClient, float] | None = None

    # Who

    async def actor(self, principal: Principal) -> Actor:
        """Who such a principal is. Raises Impossible when there is none to be had."""
        match principal:
            case Principal.OWNER:
                return Actor(user=self.owner)
            case Principal.SESSION:
                session = await self._other_session()
                return Actor(user=self.owner, token=session.access, mark=session.mark)
            case Principal.OTHER:
                await self.furnish(self.other)
                return Actor(user=self.other)
            case Principal.NAMESAKE:
                return Actor(user=await self._user_of_a_similar_name())
            case Principal.NOBODY:
                return Actor(user=None, refused="no token")
            case Principal.SERVICE:
                headers = {"X-Service-ID": "netra-backend", "X-Service-Secret": "netra-probe"}
                return Actor(user=None, headers=headers, refused="no token, wrong service secret")
            case Principal.ENDED:
                session = await self._ended_session()
                return Actor(user=self.owner, token=session.access, mark=session.mark, refused="after logout")
            case Principal.REGISTERED_AGAIN:
                return Actor(user=(await self.reborn()).user)

    async def reborn(self) -> Reborn:
        """A user who has registered the address of one who has gone. Raises Impossible when there is none to be had."""
        if self._reborn is None:
            try:
                self._reborn = await register_again(self.probe, self.walk)
            except NotReborn as reason:
                raise Impossible(str(reason)) from None
            await self.furnish(self._reborn.user)
        return self._reborn

    async def _other_session(self) -> AuthClient:
        if self._session is None:
            self._session = await self.owner.another_session()
        if self._session is None or self._session.access is None:
            raise Impossible("nobody can log in twice")
        return self._session

    async def _user_of_a_similar_name(self) -> User:
        if self._namesake is None:
            try:
                self._namesake = next(iter(await self.probe.recruit(1, beside=self.owner)), None)
            except TargetError as error:
                raise Impossible(f"no further account can be had: {error}") from None
        if self._namesake is None or not self._namesake.id:
            raise Impossible("no further account can be had")
        self.walk.join(self._namesake)
        await self.furnish(self._namesake)
        return self._namesake

    async def _ended_session(self) -> AuthClient:
        """A session that worked and was logged out, after the grace that an end is given."""
        if self._ended is None:
            session = await self.owner.another_session()
            if session is None:
                raise Impossible("nobody can log in twice")
            await session.http.request("GET", "/auth/me", attempt=session.mark)
            http = self.walk.client(self.owner.name, "backend")
            for reader, arguments in self._own_reads()[:1]:
                await http.request("GET", reader.path, path=arguments.path, token=session.access, attempt=session.mark)
            if not await session.logout():
                raise Impossible("a session cannot be logged out")
            self._ended = session, time.monotonic() + GRACE
        session, over = self._ended
        await self.probe.wire.pause(over - time.monotonic())
        return session

    def _own_reads(self) -> list[tuple[Route, Arguments]]:
        return [
            (route, self.walk.answered[self.owner.name, route.name][0])
            for route in self.walk.routes
            if route.reads and route.service == "backend" and (self.owner.name, route.name) in self.walk.answered
        ]

    # What

    async def furnish(self, user: User) -> None:
        """Let a user have one of everything, so that ids are known and own requests can be compared with."""
        if user.name not in self._furnished:
            self._furnished.add(user.name)
            await self.walk.create_all(user.name, runs=user is self.owner)

    async def known(self, route: Route) -> Arguments:
        """How the owner's own use of a route was answered. Raises Impossible when it was not."""
        await self.furnish(self.owner)
        known = self.walk.answered.get((self.owner.name, route.name))
        if known is None:
            arguments = self.walk.fill(route, self.owner.name)
            if arguments is None:
                raise Impossible("no id is known that it takes")
            await self.walk.call(self.owner.name, route, arguments, aim=arguments.aim)
            known = self.walk.answered.get((self.owner.name, route.name))
        if known is None:
            raise Impossible("its owner is refused, too")
        return known[0]

    async def fresh(self, route: Route) -> Arguments:
        """Arguments that name a thing of the owner's, made for this. Raises Impossible when none can be."""
        walk, owner = self.walk, self.owner.name
        await self.furnish(self.owner)
        if not route.braces:
            raise Impossible("it names nothing")
        collection = route.prefix(route.braces[-1])
        makers = [one for one in walk.routes if one.method == "POST" and collection_of(one.path) == collection]
        if not makers:
            raise Impossible("nothing makes what it names")
        before = {thing.id for thing in walk.things.of(owner)}
        arguments = walk.fill(makers[0], owner)
        if arguments is None or not await walk.call(owner, makers[0], arguments):
            raise Impossible("what it names cannot be made again")
        made = [thing for thing in walk.things.of(owner) if thing.id not in before and thing.collection == collection]
        filled = walk.fill(route, owner)
        if not made or filled is None:
            raise Impossible("what was made tells no id")
        path = {**filled.path, **made[0].within, route.braces[-1]: made[0].id}
        return Arguments(path=path, query=filled.query, body=filled.body, aims=(*filled.aims[:-1], made[0]))

    def private(self, arguments: Arguments) -> Thing:
        """The thing that arguments aim at. Raises Impossible when it is not the owner's alone."""
        if arguments.aim is None or not self.walk.things.is_private(arguments.aim):
            raise Impossible("what it names is not the owner's alone")
        return arguments.aim

    def client(self, actor: Actor, route: Route) -> Http:
        """The usual client of an actor."""
        return self.walk.client(actor.name, route.service)

    # Who listens

    async def socket_of(self, user: User) -> Socket:
        """The socket on which a user listens, or one opened for it."""
        socket = self.sockets.get(user.name)
        if socket is None or socket.closed is not None:
            socket = await open_tab(user, backend=self.owner.backend_number)
            if socket is None:
                raise Impossible("there is no socket")
            self.sockets[user.name] = socket
        return socket

    async def listen(self, *, wanted: bool) -> None:
        """Have everybody listen, or nobody; whoever was cut or shut out comes again."""
        if not wanted:
            for socket in self.sockets.values():
                self.hang_up(socket)
            self.sockets.clear()
            return
        for user in (self.owner, self.other, *self.probe.users):
            with suppress(Impossible):
                await self.socket_of(user)

    def hang_up(self, socket: Socket) -> None:
        """Close a connection after it was shown to have been alive; what follows need not wait for that."""

        async def end() -> None:
            if socket.closed is None:
                await socket.fence()
                await socket.close()

        ending = asyncio.create_task(end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def leave(self) -> None:
        """Close what everybody listens on, and wait until all connections have ended."""
        await self.listen(wanted=False)
        await asyncio.gather(*self._ending)

    async def close(self) -> None:
        """Hang up everywhere."""
        await self.leave()
        await self.stack.aclose()
        for session in (self._session, self._ended[0] if self._ended else None):
            if session is not None:
                await session.http.close()
        await self.walk.close()

    def own_run(self, user: User, run: str) -> None:
        """Note whose a run is."""
        if run:
            self.probe.history.observe(
                actions.OWN, user=user.name, ids={"run_id": run}, detail={"kind": "run", "id": run}
            )
