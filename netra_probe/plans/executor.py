"""Carrying a plan out on an investigation; each operation in the history names the step that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from netra_probe.clients.policy import allows, needed_at
from netra_probe.clients.replies import Answered
from netra_probe.history import actions
from netra_probe.history.store import STEP
from netra_probe.investigation.cleanup import AUTH_REMOVAL
from netra_probe.investigation.survey import Survey, survey
from netra_probe.plans.budget import Budget
from netra_probe.plans.crawler import ApiCrawler
from netra_probe.plans.explorer import Exploration, explore
from netra_probe.plans.offers import EXECUTE, TOOLS, Offer, Offers, offers_of, socket_offers, tool_offers
from netra_probe.plans.rest_steps import RestSteps
from netra_probe.plans.routes import backend_client
from netra_probe.plans.socket_steps import SocketSteps
from netra_probe.plans.steps import Disturbance, Listeners, Plan, Step, Timing
from netra_probe.plans.tabs import long_question, open_tab, until_run_begins
from netra_probe.plans.world import Impossible, World
from netra_probe.target.deployment import Mode

if TYPE_CHECKING:
    from netra_probe.clients.websocket import Socket
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

#: Where runs are streamed as server-sent events.
STREAM = "POST /api/chat/stream"
#: Seconds that the end of a step is waited for beside its own time-outs: a step that hangs ends the exploration.
LONGEST_STEP = 60.0


class Executor:
    """Plans for one target, and what carries them out; ``close`` it at the end.

    Arguments:
        owner: whose objects are attacked.
        other: who reaches for them.
    """

    def __init__(self, probe: Investigation, found: Survey, *, owner: User, other: User, budget: Budget) -> None:
        self.probe = probe
        self._found = found
        self._budget = budget
        walk = ApiCrawler(probe, found, (owner, other), budget=budget, backend=owner.backend_number)
        self.world = World(probe, walk, owner=owner, other=other)
        self._rest, self._sockets = RestSteps(self.world), SocketSteps(self.world)

    @staticmethod
    async def on(probe: Investigation, *, owner: User, other: User, budget: Budget) -> Executor:
        """Look at what the target offers."""
        return Executor(probe, await survey(probe), owner=owner, other=other, budget=budget)

    # Planning

    async def offers(self) -> Offers:
        """What the target offers, and what may be done there."""
        probe, walk = self.probe, self.world.walk
        own = {route.name for route in walk.routes}
        offers = offers_of(
            self._found.routes,
            withheld=lambda route: walk.withheld.get(route.name, ""),
            fields=lambda route: walk.filler(route).fields(route),
        )
        has = {"login"}
        if allows(probe.target.mode, needed_at(probe.target, Mode.ATTACK, lab=probe.rules.lab)):
            has.add("attack")
        if not probe.target.accounts:
            has.add("registration")
            if probe.routes.removal("auth", AUTH_REMOVAL) is not None:
                has.add("removal")
        if self._found.auth.offers("POST", "/auth/logout"):
            has.add("logout")
        if STREAM in own:
            has.add("sse")
        tools: tuple[Offer, ...] = ()
        if own >= {TOOLS, EXECUTE}:
            method, _, path = TOOLS.partition(" ")
            listed = await walk.client(self.world.owner.name, "backend").request(method, path)
            tools = tool_offers(listed.body) if isinstance(listed, Answered) else ()
        socket = await open_tab(self.world.owner)
        sockets: tuple[Offer, ...] = ()
        if socket is not None:
            has.add("websocket")
            sockets = socket_offers()
            await socket.close()
        return Offers(offers=(*offers, *tools, *sockets), backends=len(probe.target.backend_urls), has=frozenset(has))

    async def explore(self) -> Exploration:
        """A plan that covers what the target offers, without what this investigation has done before."""
        done = self.probe.finished.setdefault(("explore", self.world.owner.name, self.world.other.name), set())
        target = await self.offers()
        # Both users have one of everything before anybody reaches for it.
        furnishing = min(self._budget.requests // 3, 2 * len(self.world.walk.routes))
        budget = self._budget.requests - furnishing
        return await asyncio.to_thread(explore, target, seed=self.probe.seed, budget=budget, done=frozenset(done))

    # Carrying out

    async def carry_out(self, plan: Plan | Exploration) -> None:
        """Take the steps of a plan in order, until the budget is spent or the target does not answer any more."""
        exploration = plan if isinstance(plan, Exploration) else None
        steps = plan.plan if isinstance(plan, Exploration) else plan
        record = exploration.as_record() if exploration else {"seed": steps.seed, "planned": len(steps)}
        self.probe.history.observe(actions.PLAN, detail=record)
        self._rest.begin()
        done = self.probe.finished.setdefault(("explore", self.world.owner.name, self.world.other.name), set())
        why = ""
        for step in steps:
            why = why or self._over()
            self._note(step, **({"why": why} if why else {}))
            if why:
                continue
            running = STEP.set(step.id)
            try:
                async with asyncio.timeout(LONGEST_STEP + self.probe.timeouts.run):
                    await self._take(step)
                done.add(step.id)
            except Impossible as reason:
                self._note(step, impossible=str(reason))
                done.add(step.id)
            except TimeoutError:
                why = f"step {step} did not come to its end"
                self.probe.notes.limit(why)
            finally:
                STEP.reset(running)
        await self.world.leave()

    async def close(self) -> None:
        """Hang up everywhere."""
        await self.world.close()

    def _over(self) -> str:
        """Why nothing more is done; "" while there is nothing."""
        gate = self.probe.wire.gate
        if gate is not None and gate.watch is not None and (gate.watch.reason or gate.watch.blamed):
            return gate.watch.reason or f"the target had stopped answering after {gate.watch.blamed[0]}"
        if self.probe.patience.is_hopeless and not self.world.walk.purse.spent:
            return "no run was answered"
        return "the budget was spent" if self.world.walk.purse.empty else ""

    def _note(self, step: Step, **more: Any) -> None:
        values = {name: str(getattr(step, name)) for name in step.__struct_fields__}
        self.probe.history.observe(actions.STEP, detail={"id": step.id, **values, **more})

    async def _take(self, step: Step) -> None:
        await self.world.listen(wanted=step.listeners is not Listeners.ABSENT)
        async with self._meanwhile(step):
            await (self._sockets if step.surface == "websocket" else self._rest).take(step)

    @asynccontextmanager
    async def _meanwhile(self, step: Step) -> AsyncIterator[None]:
        """What the others do until the step is over."""
        beside: list[asyncio.Future[Any]] = []
        if step.timing is Timing.DURING_RUN:
            beside += await self._in_a_run(self.world.owner)
        listener = self._listener()
        if step.listeners is Listeners.ACTIVE and not (listener is self.world.owner and beside):
            beside += await self._in_a_run(listener)
        if step.listeners is Listeners.SSE:
            beside.append(asyncio.ensure_future(self._stream(listener)))
        if step.disturbance is Disturbance.CUT:
            await self._cut(listener)
        try:
            yield
        finally:
            await asyncio.gather(*beside)

    def _listener(self) -> User:
        """Who listens: somebody who neither owns nor does anything here, where there is one."""
        taken = (self.world.owner, self.world.other)
        return next((user for user in self.probe.users if user not in taken), self.world.other)

    async def _in_a_run(self, user: User) -> list[asyncio.Future[Any]]:
        """A run of the user's that has begun and goes on."""
        socket = await self.world.socket_of(user)
        start = len(socket.received)
        asking = asyncio.ensure_future(user.ask(long_question(), socket=socket))
        await until_run_begins(self.probe, socket, start=start)
        return [asking]

    async def _stream(self, user: User) -> None:
        """A run of the user's as a stream of server-sent events, read to its end."""
        method, _, route = STREAM.partition(" ")
        text = f"Where do I overspend? [{user.canary('question', 'rest')}]"
        thread = await user.new_thread()
        body = {"request": text, "user_request": text, "message": text, "content": text, "thread_id": thread or None}
        client = backend_client(self.probe, user, self.world.owner.backend_number)
        try:
            await client.http.request(method, route, json=body)
        finally:
            await client.http.close()

    async def _cut(self, user: User) -> None:
        """One more connection of the user's dies, as a client does."""
        socket: Socket | None = await open_tab(user, backend=self.world.owner.backend_number)
        if socket is not None:
            self.probe.history.observe(
                actions.DISTURB, user=user.name, connection=socket.name, detail={"what": "cut", "target": socket.name}
            )
            await socket.abort()
