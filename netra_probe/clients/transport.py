"""How an investigation reaches its target: live, or from a recording (``netra_probe.investigation.replay``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from netra_probe.clients.handshake_guard import HandshakeGuard
from netra_probe.clients.http import Http
from netra_probe.clients.liveness import LivenessModel
from netra_probe.clients.policy import Gate
from netra_probe.clients.replies import Refused, Timeouts, Unreachable
from netra_probe.clients.route import NetworkRoute
from netra_probe.clients.websocket import Opened, open_socket, websocket_url
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target


class Transport(Protocol):
    """Makes the clients; everything that goes to a target or comes from it passes one of them."""

    #: Whether acts reach a target, rather than a recording of one.
    live: bool
    #: What decides whether and when something may go; a recording needs none.
    gate: Gate | None

    def http(
        self,
        base_url: str,
        *,
        surface: str,
        user: str | None = None,
        backend: str | None = None,
        pinned: str | None = None,
    ) -> Http:
        """A recording HTTP client of one user at one service; ``pinned`` names the one connection it keeps to."""

    async def socket(
        self,
        *,
        name: str,
        user: str | None,
        backend: int,
        token: Secret | None,
        attempt: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        detour: NetworkRoute | None = None,
    ) -> Opened:
        """Open a WebSocket at the backend with this number; the token travels in a header, or as sub-protocols say."""

    async def pause(self, seconds: float) -> None:
        """Let a time pass that the target's protocol states, such as a token's lifetime."""


class LiveTransport:
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
        self._turnstile = HandshakeGuard()
        #: Backend → whether it was found to have no socket at all.
        self._no_socket: dict[int, bool] = {}

    def http(
        self,
        base_url: str,
        *,
        surface: str,
        user: str | None = None,
        backend: str | None = None,
        pinned: str | None = None,
    ) -> Http:
        return Http(
            self._history,
            base_url,
            surface=surface,
            user=user,
            backend=backend,
            headers=self._headers,
            verify=self._context,
            timeouts=self._timeouts,
            pinned=pinned,
            gate=self.gate,
        )

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def socket(
        self,
        *,
        name: str,
        user: str | None,
        backend: int,
        token: Secret | None,
        attempt: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        detour: NetworkRoute | None = None,
    ) -> Opened:
        if self.gate is not None and (reason := await self.gate.handshake()):
            return Unreachable(reason=reason)
        url = websocket_url(self._target.backend_urls[backend], query=query)
        open_here = partial(
            open_socket,
            self._history,
            backend=f"backend-{backend + 1}",
            timeouts=self._timeouts,
            trust=self._trust,
            ssl_context=self._context if url.startswith("wss:") else None,
        )
        knock = partial(
            open_here,
            url,
            token=token,
            user=user,
            name=name,
            headers={**self._headers, **(headers or {})},
            subprotocols=subprotocols,
            origin=origin,
            attempt=attempt,
            detour=detour,
        )

        async def show(name: str, user: str, token: Secret) -> Opened:
            plain = websocket_url(self._target.backend_urls[backend])
            return await open_here(plain, token=token, user=user, name=name, headers=self._headers)

        opened = await self._turnstile.through(
            knock, backend=backend, user=user, token=token, attempt=attempt, open=show
        )
        if isinstance(opened, Refused) and user is not None and not (attempt or {}).get("expect"):
            await self._say_if_there_is_none(backend, user, token, opened.status, open_here)
        return opened

    async def _say_if_there_is_none(
        self, backend: int, user: str, token: Secret | None, status: int, open_here: Callable[..., Awaitable[Opened]]
    ) -> None:
        """A case that wants a socket is not applicable where nobody has promised one and there is none.

        Refused may also be who knocks. A place that surely does not exist tells: an answer like there is none here.
        """
        if self.gate is None or self.gate.rules.lab or self._target.generator is not None:
            return
        if backend not in self._no_socket:
            nowhere = websocket_url(self._target.backend_urls[backend]) + "-that-does-not-exist"
            name = f"{user}/nowhere-{backend + 1}"
            there = await open_here(nowhere, token=token, user=user, name=name, headers=self._headers)
            self._no_socket[backend] = isinstance(there, Refused) and there.status == status
        if self._no_socket[backend]:
            self.gate.without(f"the target has no socket at /ws (status {status}, as where nothing is)")
