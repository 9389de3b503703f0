"""How an investigation reaches its target: live, or from a recording (``netra_probe.investigation.replay``)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from netra_probe.clients.exchange import LiveExchange
from netra_probe.clients.handshake_guard import HandshakeGuard
from netra_probe.clients.http import Exchange, Http, Service
from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.policy import Gate
from netra_probe.clients.replies import Refused, Timeouts, Unreachable
from netra_probe.clients.websocket import Handshake, Opened, open_socket
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target


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
