"""Steps over a WebSocket: handshakes, client messages and questions, each with what is the owner's in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from netra_probe.clients.agent import Run
from netra_probe.clients.websocket import Handshake, Received, Socket
from netra_probe.forgery.tokens import subprotocols
from netra_probe.investigation.users import User
from netra_probe.openapi.arguments import missing
from netra_probe.plans.messages import foreign, say
from netra_probe.plans.offers import HANDSHAKE, QUESTION
from netra_probe.plans.steps import Channel, Connection, Place, Principal, Role, Spelling, Step, Timing
from netra_probe.plans.tabs import QUESTION as WORDS
from netra_probe.plans.tabs import long_question, until_run_begins
from netra_probe.plans.token_messages import KIND, present, show_token_of
from netra_probe.plans.trials import spelling
from netra_probe.plans.world import Actor, Impossible, World


class SocketSteps:
    """Takes the steps of a plan that go over sockets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.probe = world.probe
        self._thread = ""
        self._run = ""

    async def take(self, step: Step) -> None:
        """Take one step. Raises Impossible when that cannot be done here."""
        actor = await self.world.actor(step.principal)
        if step.operation == HANDSHAKE:
            await self._knock(step, actor)
            return
        if actor.user is None:
            raise Impossible("whoever has no credential has no socket")
        if step.operation == f"message {KIND}":
            await self._show_token(step, actor.user)
            return
        await self._know()
        async with _Line(self, step, actor) as socket:
            if step.operation == QUESTION:
                await self._ask(step, actor, actor.user, socket)
            else:
                await self._say(step, actor.user, socket)

    async def _show_token(self, step: Step, user: User) -> None:
        """A token in a message: one's own, or the owner's; then it is seen whose connection it is."""
        owner = self.world.owner
        shown = user if step.place is Place.NOWHERE else owner
        beside = owner if user is not owner else self.world.other
        if await show_token_of(self.probe, user, shown, beside=beside) is None:
            raise Impossible("there is no socket over which threads are made")

    # What is said

    async def _say(self, step: Step, user: User, socket: Socket) -> None:
        kind = step.operation.removeprefix("message ")
        if step.role is Role.STOP:
            await self._stop(step, user, socket)
            return
        if step.place is Place.NOWHERE:
            await say(self.probe, socket, kind, {"thread_id": self._thread}, attempt={"act": True})
            return
        own = await self.world.socket_of(self.world.owner)
        await say(self.probe, own, kind, {"thread_id": self._thread})
        spelled = spelling(step.spelling, self._thread)
        mark = self._mark(step, f"{kind} a foreign thread", "thread", self._thread)
        companion = []
        if step.timing is Timing.SAME_INSTANT:
            companion = [say(self.probe, own, kind, {"thread_id": self._thread})]
        await asyncio.gather(say(self.probe, socket, kind, {"thread_id": spelled}, attempt=mark), *companion)
        if step.timing is not Timing.DURING_RUN:
            # What was let in would see what the owner does from now on.
            await self.world.owner.ask(WORDS, socket=own, thread=self._thread)

    async def _stop(self, step: Step, user: User, socket: Socket) -> None:
        """Somebody stops a run of the owner's that goes on."""
        own = await self.world.socket_of(self.world.owner)
        asking, run = await self._begin_run(own)
        if run:
            mark: Mapping[str, Any] = {"act": True}
            named = spelling(step.spelling, run)
            if step.place is not Place.NOWHERE:
                mark = self._mark(step, "stop a foreign run", "run", run)
            await say(self.probe, socket, "stop_agent", {"run_id": named}, attempt=mark)
        await asyncio.gather(asking)
        if not run:
            raise Impossible("events name no run")

    async def _ask(self, step: Step, actor: Actor, user: User, socket: Socket) -> None:
        if step.place is Place.NOWHERE:
            await user.ask(WORDS, socket=socket, attempt={"act": True})
            return
        own = await self.world.socket_of(self.world.owner)
        mark = self._mark(step, "claim a thread in a question", "thread", self._thread)
        asking = []
        if step.timing is Timing.SAME_INSTANT:
            asking = [self.world.owner.ask(WORDS, socket=own, thread=self._thread)]
        else:
            await self.world.owner.ask(WORDS, socket=own, thread=self._thread)
        if step.place is Place.CLAIM_BODY:
            mark = self._mark(step, "claim a user id in a question", "thread", self._thread)
            claims = {"user_id": self.world.owner.id, "sender_id": self.world.owner.id}
            await asyncio.gather(user.ask(WORDS, socket=socket, claims=claims, attempt=mark), *asking)
        else:
            thread = spelling(step.spelling, self._thread)
            await asyncio.gather(user.ask(WORDS, socket=socket, thread=thread, attempt=mark), *asking)

    def _mark(self, step: Step, name: str, kind: str, id: str) -> dict[str, Any]:
        if step.spelling is Spelling.MISSING:
            nobodys = {"kind": kind, "id": missing(id)}
            return {"attempt": "missing id", "object": nobodys, "expect": "refused", "act": True}
        told = name if step.spelling is Spelling.ID else f"{name}, {step.spelling}"
        return {**foreign(told, kind, id, self.world.owner), "act": True}

    # Handshakes

    async def _knock(self, step: Step, actor: Actor) -> None:
        owner = self.world.owner
        user = actor.user or None
        token = actor.token or (user.auth.access if user is not None else None)
        query = {"user_id": owner.id, "client_id": owner.id} if step.place.claims else {}
        mark: dict[str, Any] = {**actor.mark, "act": True}
        if actor.refused:
            mark |= {"attempt": actor.refused, "expect": "refused"}
        shift = int(step.connection is Connection.OTHER_BACKEND)
        if step.channel is Channel.QUERY and token is not None:
            query["token"] = token.reveal()
        opened = await self.probe.wire.open(
            Handshake(
                name=user.connection_name() if user is not None else "stranger/door",
                user=user.name if user is not None else None,
                backend=(owner.backend_number + shift) % len(self.probe.target.backend_urls),
                token=None if step.channel is Channel.QUERY else token,
                attempt=mark,
                query=query or None,
                subprotocols=subprotocols(token) if step.channel is Channel.SUBPROTOCOL and token is not None else (),
            )
        )
        if isinstance(opened, Socket):
            if step.timing is Timing.SAME_INSTANT and user is not None and not actor.refused:
                own = await self.world.socket_of(owner)
                await owner.ask(WORDS, socket=own)
            self.world.hang_up(opened)

    # What is needed

    async def _know(self) -> None:
        """A thread of the owner's, in which something was said."""
        if self._thread:
            return
        owner = self.world.owner
        self._thread = await owner.new_thread()
        if not self._thread:
            raise Impossible("no thread can be made")
        run = await owner.ask(WORDS, socket=await self.world.socket_of(owner), thread=self._thread)
        self.world.own_run(owner, run.run_id)

    async def _begin_run(self, own: Socket) -> tuple[asyncio.Future[list[Run]], str]:
        owner = self.world.owner
        start = len(own.received)
        asking = self.probe.start([owner.ask(long_question(), socket=own, thread=self._thread)])
        begun = await until_run_begins(self.probe, own, start=start, thread=self._thread)
        run = begun.frame.ids.get("run_id", "") if isinstance(begun, Received) else ""
        self.world.own_run(owner, run)
        return asking, run


class _Line:
    """The connection that a step goes over, open for the length of a block."""

    def __init__(self, steps: SocketSteps, step: Step, actor: Actor) -> None:
        self._steps, self._step, self._actor = steps, step, actor
        self._own: Socket | None = None

    async def __aenter__(self) -> Socket:
        user = self._actor.user
        assert user is not None
        plain = self._step.connection is Connection.OWN and self._step.principal is not Principal.SESSION
        if plain and self._step.channel is Channel.HEADER:
            return await self._steps.world.socket_of(user)
        shift = int(self._step.connection is Connection.OTHER_BACKEND)
        world = self._steps.world
        before = user.socket
        opened = await user.connect(
            backend=world.owner.backend_number + shift, token=self._actor.token, attempt=dict(self._actor.mark)
        )
        user.socket = before
        if not isinstance(opened, Socket):
            raise Impossible("there is no socket")
        self._own = opened
        token = self._actor.token or user.auth.access
        if self._step.channel is Channel.MESSAGE and token is not None:
            shown = await present(self._steps.probe, opened, token)
            if not shown:
                raise Impossible("no token is taken in a message")
        return opened

    async def __aexit__(self, *_: object) -> None:
        if self._own is not None:
            self._steps.world.hang_up(self._own)
