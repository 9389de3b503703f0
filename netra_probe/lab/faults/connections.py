"""Faults of connections (W, F): who is connected where, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.websockets import WebSocketDisconnect

from netra_probe.lab.shared.faults import Fault, Parts, register
from netra_probe.lab.shared.isolated_environment import get_env

SEND_BUFFER = 4096
"""Of the kernel and of the event loop, in bytes, as on a small gateway in front of many idle sockets."""


class NarrowSendBuffers:
    """Middleware that narrows the buffers of each WebSocket as it is opened; HTTP is left alone."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if transport is not None:
                transport.set_write_buffer_limits(high=SEND_BUFFER)
                with contextlib.suppress(OSError, AttributeError):
                    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        await self._app(scope, receive, send)


def narrow_send_buffers(parts: Parts) -> None:
    """Put the middleware in front of everything."""
    parts["middleware"] = [NarrowSendBuffers, *parts["middleware"]]


@register
class LastConnectionWins(Fault):
    """W3: a process keeps one connection per user: a new one takes the place, an old one's close empties it.

    Incident: ``connections[user_id] = websocket`` with ``del connections[user_id]`` at disconnect, the most common
        registry in examples; with two tabs, or a reconnect quicker than the old close, it forgets a living socket.
    """

    id = "W3"
    layer = "websocket"
    title = "last connection wins, an old close deletes the new entry"
    breaks = "ConnectionHub"
    trigger = (
        "A opens a second socket to the same backend, then runs (first socket silent); or opens a new one before "
        "closing the old one, closes the old one, then runs (new one silent)"
    )
    symptom = "an open socket that answers pings gets no events; nothing foreign"
    checkers = ("C3",)

    def install(self, parts: Parts) -> None:
        """Replace the hub by one with one place per user."""
        fault = self
        healthy: type[Any] = parts["ConnectionHub"]

        class OnePlaceHub(healthy):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self._place: dict[str, Any] = {}

            def add(self, subscription: Any) -> None:
                super().add(subscription)
                self._place[subscription.user_id] = subscription

            def remove(self, subscription: Any) -> None:
                super().remove(subscription)
                self._place.pop(subscription.user_id, None)

            def wake(self, user_id: str) -> None:
                readers = self.of_user(user_id)
                if not readers:
                    return
                fault.reached()
                place = self._place.get(user_id)
                if all(reader is place for reader in readers) or not fault.fires():
                    super().wake(user_id)
                    return
                fault.triggered()
                if place is not None:
                    place.wake()

        parts["ConnectionHub"] = OnePlaceHub


@register
class SocketOutlivesToken(Fault):
    """W11: a socket is checked at its handshake and never again.

    Incident: authentication in the upgrade request only; logging out, a ban or the token's expiry change nothing for
        sockets that are open (OWASP WebSocket Security Cheat Sheet, session management).
    """

    id = "W11"
    layer = "websocket"
    title = "socket outlives revocation and expiry"
    breaks = "SessionWatch"
    trigger = "A opens a socket, then POST /auth/logout (or the token expires); wait 2 s; ping or run on the socket"
    symptom = "the socket is not closed and goes on giving service and events"
    checkers = ("C7",)

    def install(self, parts: Parts) -> None:
        """Replace the watch by one that tells nobody."""
        fault = self
        healthy: type[Any] = parts["SessionWatch"]

        class ForgetfulWatch(healthy):  # type: ignore[misc]
            def add(self, session: Any) -> None:
                fault.reached()
                if fault.fires():
                    session.end = self._deaf(session.end)
                super().add(session)

            def _deaf(self, end: Any) -> Any:
                def ignore(ending: Any) -> None:
                    if ending.code in ("TOKEN_EXPIRED", "TOKEN_REVOKED", "AUTH_SERVICE_UNAVAILABLE"):
                        fault.triggered()
                    else:
                        end(ending)

                return ignore

        parts["SessionWatch"] = ForgetfulWatch


HELD_UP_SECONDS = 0.1
"""A turn that is waited for longer than this was held up by somebody else's socket (fault W13)."""


class FanOut:
    """The one loop of a process that writes to all sockets in turn, and whether it is down just now."""

    RESTART_SECONDS = 3.0

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._dead: set[str] = set()
        self._down_until = 0.0

    @property
    def down(self) -> bool:
        """The loop ended with an exception and was not started again yet."""
        return time.monotonic() < self._down_until

    def died(self, user_id: str) -> None:
        """A socket went without a word; nobody has noticed yet."""
        self._dead.add(user_id)

    def write_to(self, user_id: str) -> None:
        """Something is to be sent to a user: if their socket is a dead one, the loop ends with its exception."""
        if user_id in self._dead:
            self._dead.discard(user_id)
            self._down_until = time.monotonic() + self.RESTART_SECONDS


@register
class FanOutStopsAtBadPeer(Fault):
    """W13: one loop serves all sockets of a process; a frozen peer blocks it and a dead one ends it.

    Incident: ``for websocket in connections: await websocket.send(...)``, "the naive way" of the websockets
        documentation on broadcasting: the slowest peer sets the pace of all and an exception ends the loop.
    """

    id = "W13"
    layer = "websocket"
    title = "fan-out stops or blocks on a bad peer"
    breaks = "ConnectionHub.wake, WebSocketSession"
    trigger = (
        "A and B on one backend; kill A's TCP connection (no close frame) while A's run is in progress, B runs within "
        "3 s; or A stops reading with > 250 KB on its way (6 runs of 5 KB), B runs"
    )
    symptom = "B loses events (A killed) or waits up to 5 s for them (A frozen), on that backend only"
    checkers = ("C3", "C11")

    def install(self, parts: Parts) -> None:
        """Let all pumps of the process take turns, and end with the first exception."""
        fault, fan_out = self, FanOut()
        hub: type[Any] = parts["ConnectionHub"]
        session_class: type[Any] = parts["WebSocketSession"]

        class FanOutHub(hub):  # type: ignore[misc]
            def wake(self, user_id: str) -> None:
                fan_out.write_to(user_id)
                super().wake(user_id)

        class FanOutSession(session_class):  # type: ignore[misc]
            async def _read(self) -> None:
                try:
                    await super()._read()
                except WebSocketDisconnect as end:
                    if end.code in (1005, 1006):
                        fan_out.died(self.principal.user_id)
                    raise

            async def _deliver(self, batch: Sequence[Any]) -> None:
                fault.reached()
                if not fault.fires():
                    await super()._deliver(batch)
                    return
                if fan_out.down:
                    fault.triggered()
                    self._subscription.cursor = batch[-1].cursor
                    return
                asked = time.monotonic()
                async with fan_out.turn:
                    if time.monotonic() - asked > HELD_UP_SECONDS:
                        fault.triggered()
                    await super()._deliver(batch)

        parts["ConnectionHub"] = FanOutHub
        parts["WebSocketSession"] = FanOutSession
        narrow_send_buffers(parts)


@register
class RegistryPerProcess(Fault):
    """F4: each backend keeps its own registry and log: what one process emits, sockets of the other never see.

    Incident: scaling from one worker to several with the connections in a dictionary of each process; libraries that
        can do both say in their documentation that several workers need a shared message queue.
    """

    id = "F4"
    layer = "deployment"
    title = "several workers, in-process registry"
    breaks = "EventLog"
    trigger = (
        "A has a socket on backend 2 and starts a run on backend 1 (second socket there, or POST /api/agents/execute)"
    )
    symptom = "the socket on the other backend gets nothing of the run; same backend: everything"
    checkers = ("C3",)

    def install(self, parts: Parts) -> None:
        """Replace the log by one per backend and user."""
        fault = self
        healthy: type[Any] = parts["EventLog"]
        here = get_env().get("BACKEND_NAME") or "backend"

        class LogOfThisProcess(healthy):  # type: ignore[misc]
            def place_of(self, user_id: str) -> str:
                return f"{super().place_of(user_id)}:{here}"

            async def append(self, user_id: str, event: Mapping[str, Any]) -> int:
                fault.reached()
                connected = set(await self._redis.hvals(f"user_sessions:{user_id}"))
                cursor: int = await super().append(user_id, event)
                for elsewhere in connected - {here}:
                    if fault.fires():
                        fault.triggered()
                    else:
                        await self.append_at(f"{super().place_of(user_id)}:{elsewhere}", user_id, event)
                return cursor

        parts["EventLog"] = LogOfThisProcess
