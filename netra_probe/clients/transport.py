"""How an investigation reaches its target: live, or from a recording (``netra_probe.investigation.replay``)."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from netra_probe.clients.exchange import LiveExchange
from netra_probe.clients.http import Exchange, Http, Service
from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.policy import Gate
from netra_probe.clients.replies import Refused, Timeouts, Unreachable
from netra_probe.clients.websocket import Handshake, Opened, Socket, open_socket
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target

#: Refused handshakes in a row at one backend before one that is known to be good goes in between. Five can shut out
#: everybody (netra-wire §1), and another notebook of the same run may be at it, too.
MOST_IN_A_ROW = 2
Open = Callable[[Handshake], Awaitable[Opened]]


class HandshakeGuard:
    """Lets handshakes that are to be refused through one at a time, with good ones in between."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._refused: dict[int, int] = {}
        #: User → the token that has opened a connection of theirs last.
        self._good: dict[str, Secret] = {}
        self._numbers = itertools.count(1)

    async def through(self, handshake: Handshake, open: Open) -> Opened:
        """What comes of a handshake; before it, a good connection is opened and closed, if that is due."""
        mark, backend = handshake.attempt, handshake.backend
        if mark.get("expect") != "refused" or mark.get("control"):
            opened = await open(handshake)
            if isinstance(opened, Socket):
                self._refused[backend] = 0
                if handshake.user is not None and handshake.token is not None and "credential" not in mark:
                    self._good[handshake.user] = handshake.token
            return opened
        async with self._locks.setdefault(backend, asyncio.Lock()):
            if self._refused.get(backend, 0) >= MOST_IN_A_ROW:
                await self._show_a_good_one(backend, open)
            opened = await open(handshake)
            self._refused[backend] = 0 if isinstance(opened, Socket) else self._refused.get(backend, 0) + 1
            return opened

    async def _show_a_good_one(self, backend: int, open: Open) -> None:
        for user, token in list(self._good.items()):
            name = f"{user}/between-{next(self._numbers)}"
            opened = await open(Handshake(name=name, user=user, backend=backend, token=token))
            if isinstance(opened, Socket):
                await opened.close()
                self._refused[backend] = 0
                return
            # It has ended since, and would only make things worse.
            del self._good[user]


class Transport(ABC):
    """The one way to a target: requests are sent through an exchange, and handshakes open sockets."""

    #: Whether acts reach a target, rather than a recording of one.
    live: bool
    #: What decides whether and when something may go; a recording needs none.
    gate: Gate | None = None

    def http(
        self,
        base_url: str,
        *,
        surface: str,
        user: str | None = None,
        backend: str | None = None,
        pinned: str | None = None,
    ) -> Http:
        """An HTTP client of one user at one service (see ``Service``)."""
        service = Service(base_url=base_url, surface=surface, user=user, backend=backend, pinned=pinned)
        return Http(self.exchange(service), gate=self.gate)

    @abstractmethod
    def exchange(self, service: Service) -> Exchange:
        """What sends the requests of one client."""

    @abstractmethod
    async def open(self, handshake: Handshake) -> Opened:
        """A WebSocket, or why there is none."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let a time pass that the target's protocol states, such as a token's lifetime."""


class LiveTransport(Transport):
    """The real thing."""

    live = True

    def __init__(self, target: Target, history: Recorder, timeouts: Timeouts, *, gate: Gate | None = None) -> None:
        self.gate = gate
        self._target = target
        self._headers = target.header_values()
        self._context = target.ssl_context()
        self._history = history
        self._timeouts = timeouts
        self._trust = LivenessModel()
        self._guard = HandshakeGuard()
        #: Backend → whether it was found to have no socket at all.
        self._no_socket: dict[int, bool] = {}

    def exchange(self, service: Service) -> Exchange:
        return LiveExchange(
            self._history, service, headers=self._headers, verify=self._context, timeouts=self._timeouts
        )

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def open(self, handshake: Handshake) -> Opened:
        if self.gate is not None and (reason := await self.gate.handshake()):
            return Unreachable(reason=reason)
        opened = await self._guard.through(handshake, self._dial)
        if isinstance(opened, Refused) and handshake.user is not None and not handshake.attempt.get("expect"):
            await self._say_if_there_is_none(handshake, opened.status)
        return opened

    async def _dial(self, handshake: Handshake) -> Opened:
        return await open_socket(
            self._history,
            self._target.backend_urls[handshake.backend],
            handshake,
            headers=self._headers,
            timeouts=self._timeouts,
            trust=self._trust,
            ssl_context=self._context,
        )

    async def _say_if_there_is_none(self, refused: Handshake, status: int) -> None:
        """A case that wants a socket is not applicable where nobody has promised one and there is none.

        Refused may also be who knocks. A place that surely does not exist tells: an answer like there is none here.
        """
        if self.gate is None or self.gate.rules.lab or self._target.generator is not None:
            return
        backend = refused.backend
        if backend not in self._no_socket:
            name = f"{refused.user}/nowhere-{backend + 1}"
            there = await self._dial(
                Handshake(
                    name=name,
                    user=refused.user,
                    backend=backend,
                    token=refused.token,
                    path=f"{refused.path}-that-does-not-exist",
                )
            )
            self._no_socket[backend] = isinstance(there, Refused) and there.status == status
        if self._no_socket[backend]:
            self.gate.without(f"the target has no socket at /ws (status {status}, as where nothing is)")
