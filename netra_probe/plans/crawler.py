"""Walking through an interface as an ordinary user: make things, read them, and learn their ids on the way."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from netra_probe.checkers.coverage import WALK
from netra_probe.clients.http import Http
from netra_probe.clients.replies import Answered, Refused, Reply, from_api
from netra_probe.history import actions
from netra_probe.history.secret import Secret
from netra_probe.investigation.cleanup import remove
from netra_probe.investigation.survey import Survey
from netra_probe.openapi import Interface, Route
from netra_probe.openapi.arguments import COMMON, Arguments, Filler
from netra_probe.openapi.examples import Instances, Plant
from netra_probe.openapi.objects import Thing, Things
from netra_probe.plans.budget import Budget, RequestQuota
from netra_probe.plans.routes import backend_client

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: What ends sessions, locks people out, belongs to operators, or is not about anybody's objects.
_LEFT_OUT = frozenset((
    "login", "logon", "logout", "signin", "signup", "signout", "register", "registration", "refresh", "token", "tokens",
    "ticket", "password", "passwd", "oauth", "oauth2", "callback", "verify", "verification", "validate", "validation",
    "confirm", "dev", "enable", "disable", "lock", "unlock", "ban", "deactivate", "health", "healthz", "metrics",
    "status", "internal", "admin", "shutdown", "reset", "blacklist", "impersonate", "invite", "openapi", "docs",
))  # fmt: skip
_WORDS = re.compile(r"[/_-]")
#: Starts a run of an agent.
_RUNS = re.compile(r"agent|stream|execut|/run|/ask|complet", re.IGNORECASE)
#: Why a route is not sent although it would do no harm.
NOBODYS = "it ends sessions, belongs to operators, or is about nobody's own things"
NOT_REACHED = "no walk came to it, or an id that it needs was not known"
#: Refusals of what was sent, and not of who sent it: another body may do.
_MALFORMED = frozenset((400, 415, 422))


class ApiCrawler:
    """What several users can do with an interface; everything that comes back is learned from."""

    def __init__(
        self,
        probe: Investigation,
        found: Survey,
        users: tuple[User, ...],
        *,
        budget: Budget,
        backend: int,
        act: str = "",
    ) -> None:
        #: The act that walks; what it could not send for want of budget is then noted when the walk is closed.
        self._act = act
        self.probe = probe
        self.users = {user.name: user for user in users}
        self.things = Things()
        self.things.user_ids = {user.name: user.id for user in users}
        self.purse = RequestQuota(probe, budget)
        gate = probe.wire.gate
        #: What keeps from harm where there may be something that is not this run's.
        self._guard = gate if gate is not None and gate.guards else None
        if self._guard is not None:
            self._guard.rules.learn((route.method, route.path) for route in found.routes)
        self.routes = tuple(route for route in found.routes if not self._why_not(route))
        sent = {route.name for route in self.routes}
        #: What is not sent by any walk, and why; two services' operation: the walked one reports it.
        self.withheld = {route.name: self._why_not(route) for route in found.routes if route.name not in sent}
        self.answered: dict[tuple[str, str], tuple[Arguments, Any]] = {}
        self.broken: set[str] = set()
        self._backend = backend % len(probe.target.backend_urls)
        self._filler = {one.service: self._fill(one) for one in (found.auth, found.backend)}
        self._clients: dict[tuple[str | None, str], Http] = {}
        self._marks = itertools.count(1)
        #: Everybody's canaries, and how much of the history has been looked through for them.
        self._minted: defaultdict[str, list[str]] = defaultdict(list)
        self._read_until = 0

    def join(self, user: User) -> None:
        """One more user takes part."""
        self.users[user.name] = user
        self.things.user_ids[user.name] = user.id

    def _why_not(self, route: Route) -> str:
        ruling = self.probe.rules.of(route.method, route.path)
        if not ruling:
            return ruling.why
        return "" if is_ours(route) else NOBODYS

    def _fill(self, interface: Interface) -> Filler:
        return Filler(self.things, Instances(interface.document, seed=self.probe.seed))

    # Sending

    def client(self, user: str | None, service: str) -> Http:
        """The HTTP client of a user, or of nobody, at one service; all at the same backend."""
        key = (user, service)
        if key not in self._clients:
            if user is None:
                auth = service == "auth"
                self._clients[key] = self.probe.wire.http(
                    self.probe.target.auth_url if auth else self.probe.target.backend_urls[self._backend],
                    surface="auth" if auth else "rest",
                    backend=None if auth else f"backend-{self._backend + 1}",
                )
            elif service == "auth":
                self._clients[key] = self.users[user].auth.http
            else:
                self._clients[key] = backend_client(self.probe, self.users[user], self._backend).http
        return self._clients[key]

    async def send(
        self,
        user: str | None,
        route: Route,
        arguments: Arguments,
        *,
        mark: Mapping[str, Any] | None = None,
        token: Secret | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """One request; ``None`` when the budget is spent. ``mark`` is what the history notes of it."""
        if not await self.purse.acquire():
            return None
        return await self.client(user, route.service).request(
            route.method,
            route.path,
            path=arguments.path,
            query=arguments.query or None,
            json=arguments.body,
            headers=headers,
            token=token,
            anonymous=user is None and token is None,
            attempt=mark,
        )

    def fill(
        self, route: Route, user: str | None, *, whose: str | None = None, skip: int = 0, sparsely: bool = False
    ) -> Arguments | None:
        """The arguments of a route for a user (or nobody), with what shows who wrote it in every text."""
        plant = self._planter(user)
        filler = self._filler[route.service]
        filled = filler.fill(route, user or whose or "", plant, whose=whose, skip=skip, sparsely=sparsely)
        if filled is None or self._guard is None or route.reads:
            return filled
        harm = self._guard.belongings.of_others(filled.path, filled.body)
        return None if harm else filled

    def filler(self, route: Route) -> Filler:
        return self._filler[route.service]

    def _planter(self, user: str | None) -> Plant:
        def plant(name: str, room: int) -> str | None:
            if user is None:
                text = f"stranger-{next(self._marks):04}"
                return text if len(text) <= room else None
            canary = self.users[user].canary(name, "rest") if room >= 22 else None
            return canary if canary is None or room < len(COMMON) + 23 else f"{COMMON} {canary}"

        return plant

    # Walking

    async def call(
        self,
        user: str,
        route: Route,
        arguments: Arguments,
        *,
        aim: Thing | None = None,
        mark: Mapping[str, Any] | None = None,
    ) -> Reply | None:
        """An ordinary request of a user on their own things. What is made by it becomes theirs."""
        named = {"object": aim.aim} if aim is not None else {}
        reply = await self.send(user, route, arguments, mark={**named, **(mark or {})} or None)
        reply = from_api(reply) if reply is not None else None
        if not isinstance(reply, Answered):
            return reply
        self.answered.setdefault((user, route.name), (arguments, reply.body))
        for thing in self.things.learn(route, user, reply.body, arguments.path):
            if thing.telling and self.things.is_private(thing):
                ids = {f"{thing.kind}_id": thing.id}
                self.probe.history.observe(actions.OWN, user=user, ids=ids, detail=dict(thing.aim))
        return reply

    async def create_all(self, user: str, *, sparsely: bool = False, runs: bool = True) -> None:
        """Make one of everything that can be made, what needs the ids of other objects after those.

        Arguments:
            sparsely: say no more than one has to, so that the service fills in the rest.
            runs: also start agents, which takes longest.
        """
        await self._look_around(user)
        waiting = sorted((route for route in self.routes if route.method == "POST"), key=_depth)
        waiting = [route for route in waiting if runs or not _RUNS.search(route.path)]
        for _ in range(2):
            left = []
            for route in waiting:
                arguments = self.fill(route, user, sparsely=sparsely)
                if arguments is None:
                    left.append(route)
                elif not await self._make(user, route, arguments):
                    self.broken.add(route.name)
            waiting = left
            await self.read(user)

    async def _look_around(self, user: str) -> None:
        """See what is there before anything is made: none of it is written to."""
        if self._guard is None or user in self._guard.belongings.looked:
            return
        self._guard.belongings.looked.add(user)
        for route in self.routes:
            if route.reads and not route.braces and (arguments := self.fill(route, user)) is not None:
                await self.send(user, route, arguments)

    async def _make(self, user: str, route: Route, arguments: Arguments) -> bool:
        if self._guard is None or not self._guard.awaits_trial(route.method, route.path):
            return await self._made(user, route, arguments)
        async with self._guard.trials.setdefault(route.name, asyncio.Lock()):
            if self._guard.awaits_trial(route.method, route.path) and not await self._tried(user, route, arguments):
                return False
        fresh = self.fill(route, user)
        return fresh is not None and await self._made(user, route, fresh)

    async def _tried(self, user: str, route: Route, arguments: Arguments) -> bool:
        """Make one thing and delete it again: only what can be deleted is made for the sake of looking at it."""
        guard = self._guard
        assert guard is not None
        if not await self._made(user, route, arguments):
            return False
        one = next((one for one in guard.belongings.left if one.route == route.path and one.id), None)
        guard.rules.tried[route.name] = one is not None and await remove(self.probe, self.users[user], one)
        for thing in list(self.things.of(user)):
            if one is not None and thing.id == one.id:
                self.things.forget(thing)
        return guard.rules.tried[route.name]

    async def _made(self, user: str, route: Route, arguments: Arguments) -> bool:
        reply = await self.call(user, route, arguments)
        if isinstance(reply, Refused) and reply.status in _MALFORMED and route.body is not None:
            # What is planted may be what does not fit: once more with nothing in it but what the schema says.
            plain = self._filler[route.service].fill(route, user, lambda name, room: None)
            reply = await self.call(user, route, plain) if plain is not None else None
        return bool(reply)

    async def read(self, user: str) -> None:
        """Read everything that can be read and was not yet; lists first, since they tell ids."""
        for route in sorted((route for route in self.routes if route.reads), key=_depth):
            if (user, route.name) not in self.answered:
                arguments = self.fill(route, user)
                if arguments is not None:
                    await self.call(user, route, arguments, aim=arguments.aim)

    def is_personal(self, user: str, route: Route) -> bool:
        """Whether what the user was answered is about the user: it names them, or holds something of theirs."""
        if (user, route.name) not in self.answered:
            return False
        text = msgspec.json.encode(self.answered[user, route.name][1]).decode()
        own = (self.users[user].id, *(thing.id for thing in self.things.of(user) if thing.telling))
        return any(id in text for id in own) or any(token in text for token in self._canaries(user))

    def _canaries(self, user: str) -> list[str]:
        history = self.probe.history
        for index in range(self._read_until, len(history)):
            if (operation := history[index]).action == actions.MINT:
                self._minted[operation.user or ""].append(str(operation.detail.get("token")))
        self._read_until = len(history)
        return self._minted[user]

    async def close(self) -> None:
        if self._act and self.purse.unpaid:
            reason = f"its budget of {self.purse} was spent before {self.purse.unpaid} requests could be sent"
            self.probe.notes.limit(f"{self._act}: {reason}; raise the budget")
        self._tell_unsent()
        for (user, service), http in self._clients.items():
            if user is None or service != "auth":
                await http.close()

    def _tell_unsent(self) -> None:
        """Note what nobody has sent until now, and why: it bounds what the run can say."""
        why = "the budget was spent" if self.purse.unpaid else NOT_REACHED
        sent = {operation.action for operation in self.probe.history if operation.type == "invoke"}
        unsent = {**self.withheld, **{route.name: why for route in self.routes}}
        told = {name: why for name, why in sorted(unsent.items()) if name not in sent}
        self.probe.history.observe(actions.PLAN, detail={"by": WALK, "withheld": told})


def is_ours(route: Route) -> bool:
    """Whether an ordinary user may try this route on their own objects without harm to their account."""
    parts = [part for part in route.path.lower().split("/") if not part.startswith("{")]
    words = {word for part in parts for word in (part.replace("-", "").replace("_", ""), *_WORDS.split(part))}
    if words & _LEFT_OUT or route.form:
        return False
    if route.service == "auth":
        return route.reads and bool(route.braces)
    # Without an id a DELETE would take everything that its sender has.
    return route.method != "DELETE" or bool(route.braces)


def _depth(route: Route) -> tuple[int, int, str]:
    return len(route.braces), route.path.count("/"), route.path
