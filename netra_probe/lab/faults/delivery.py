"""Faults of delivery (W): the right reader, but events missing, doubled or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from netra_probe.lab.backend.websocket_event_router import RECONNECT_SECONDS
from netra_probe.lab.faults.connections import narrow_send_buffers
from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class LeakOnDisconnect(Fault):
    """P4: each socket gets a connection to Redis and a task of its own, and its end gives neither back.

    Incident: a listener per socket, started with ``create_task`` and forgotten; servers that run out of descriptors or
        of ``maxclients`` some days after each release.
    """

    id = "P4"
    layer = "pools"
    title = "connection and task leak on disconnect"
    breaks = "WebSocketSession"
    trigger = "open a socket to /ws and close it, again and again; count Redis clients (CLIENT LIST) after each cycle"
    symptom = "one more Redis client and one more task for each socket ever opened"
    checkers = ("C10", "C11")

    def install(self, parts: Parts) -> None:
        """Replace the session by one with a listener that outlives it."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]
        forgotten: set[asyncio.Task[None]] = set()

        class ListeningSession(healthy):  # type: ignore[misc]
            async def run(self) -> None:
                fault.reached()
                connection = self.services.redis.connection_pool.make_connection()
                await connection.connect()
                listener = asyncio.create_task(self._listen(connection), name=f"{self.connection_id}:listener")
                forgotten.add(listener)
                try:
                    await super().run()
                finally:
                    if fault.fires():
                        fault.triggered()
                    else:
                        listener.cancel()
                        forgotten.discard(listener)

            async def _listen(self, connection: Any) -> None:
                try:
                    await connection.send_command("SUBSCRIBE", f"user:{self.principal.user_id}:presence")
                    while True:
                        await connection.read_response()
                finally:
                    await connection.disconnect(nowait=True)

        parts["WebSocketSession"] = ListeningSession


QUEUED_EVENTS = 8
GRACE_SECONDS = 0.25
"""A peer that reads empties the queue in this time; one that does not is slow from then on (fault W8)."""
JITTER_SECONDS = 0.01


@register
class BoundedQueueDrops(Fault):
    """W8: events wait for their socket in a short queue; what finds it full is dropped, and nobody is told.

    Incident: ``put_nowait`` with the QueueFull swallowed (in Go ``select`` with a ``default``), there to protect the
        server from slow readers, without closing them or telling them that they have missed something.
    """

    id = "W8"
    layer = "websocket"
    title = "bounded queue drops for slow readers"
    breaks = "WebSocketSession._deliver"
    trigger = "A stops reading its socket, has > 250 KB of events produced (20 short runs, or 6 of 5 KB), reads on"
    symptom = "gaps in seq and runs without a terminal event on an open connection"
    checkers = ("C3", "C4")

    def install(self, parts: Parts) -> None:
        """Put a short queue between the log and the socket."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]

        class QueueingSession(healthy):  # type: ignore[misc]
            async def _serve(self) -> None:
                self._queue: asyncio.Queue[Any] = asyncio.Queue(QUEUED_EVENTS)
                self._taken = asyncio.Event()
                self._slow = False
                sender = asyncio.create_task(self._send_queued())
                try:
                    await super()._serve()
                finally:
                    sender.cancel()
                    await asyncio.gather(sender, return_exceptions=True)

            async def _deliver(self, batch: Sequence[Any]) -> None:
                for entry in batch:
                    fault.reached()
                    if not await self._has_room() and fault.fires():
                        fault.triggered()
                    else:
                        await self._queue.put(entry)
                self._subscription.cursor = batch[-1].cursor

            async def _has_room(self) -> bool:
                if self._queue.full() and not self._slow:
                    self._taken.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(GRACE_SECONDS):
                            await self._taken.wait()
                self._slow = self._queue.full()
                return not self._slow

            async def _send_queued(self) -> None:
                while True:
                    entry = await self._queue.get()
                    self._taken.set()
                    frame = json.dumps({**entry.event, "cursor": entry.cursor}, ensure_ascii=False)
                    with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected, RuntimeError):
                        async with self._sending:
                            await self._websocket.send_text(frame)

        parts["WebSocketSession"] = QueueingSession
        narrow_send_buffers(parts)


@register
class ReplayWithoutCursor(Fault):
    """W9: whoever connects is sent everything that is kept for them, also what they have seen.

    Incident: a replay buffer for reconnects without the counterpart of Last-Event-ID: the server cannot know where
        the client stopped reading and starts at the beginning.
    """

    id = "W9"
    layer = "websocket"
    title = "replay without a cursor"
    breaks = "WebSocketSession._subscribe"
    trigger = "A receives events, loses the socket (mid-run or later), connects again to any backend"
    symptom = "events that A was sent before arrive again, same run_id and seq"
    checkers = ("C3",)

    def install(self, parts: Parts) -> None:
        """Begin each subscription at the start of the log."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]

        class ReplayingSession(healthy):  # type: ignore[misc]
            async def _subscribe(self) -> Any:
                subscription = await super()._subscribe()
                fault.reached()
                kept = await self.services.event_log.read_after(self.principal.user_id, 0, count=1)
                if kept and kept[0].cursor <= subscription.cursor and fault.fires():
                    fault.triggered()
                    subscription.cursor = 0
                return subscription

        parts["WebSocketSession"] = ReplayingSession


@register
class TaskPerEvent(Fault):
    """W10: each event is sent by a task of its own, and tasks end in any order.

    Incident: ``asyncio.create_task(send(event))`` to keep a callback synchronous or an agent from waiting; each event
        then races with the next one.
    """

    id = "W10"
    layer = "websocket"
    title = "one task per event"
    breaks = "UserWebSocketEmitter._send"
    trigger = "any run (each event's sending is delayed by up to 10 ms of jitter)"
    symptom = "a run's events arrive out of the order of their seq, some after the terminal event"
    checkers = ("C3", "C4")

    def install(self, parts: Parts) -> None:
        """Send in the background, after a varying moment."""
        fault = self
        healthy: type[Any] = parts["UserWebSocketEmitter"]
        tasks: set[asyncio.Task[None]] = set()

        class BackgroundEmitter(healthy):  # type: ignore[misc]
            _newest = 0

            async def _send(self, event: Mapping[str, Any]) -> None:
                fault.reached()
                if not fault.fires():
                    await super()._send(event)
                    return
                task = asyncio.create_task(self._send_later(event, random.uniform(0, JITTER_SECONDS)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            async def _send_later(self, event: Mapping[str, Any], delay: float) -> None:
                await asyncio.sleep(delay)
                if event["seq"] < self._newest:
                    fault.triggered()
                self._newest = max(self._newest, event["seq"])
                await super()._send(event)

        parts["UserWebSocketEmitter"] = BackgroundEmitter


@register
class ListenerDies(Fault):
    """W14: the one task that listens for news ends with its connection to Redis, and nothing starts it again.

    Incident: a manager's listening thread that an exception ends: clients stay connected, heartbeats are answered by
        somebody else, and nothing comes until a restart (python-socketio#143, #1411).
    """

    id = "W14"
    layer = "websocket"
    title = "the listener dies with a short loss of Redis"
    breaks = "WebSocketEventRouter._listen"
    trigger = "open a socket; CLIENT KILL TYPE pubsub (or a restart of Redis); ask over the same socket"
    symptom = "pings are answered and no events come, on all sockets of the backend; a new socket gets what is kept"
    checkers = ("C3",)

    def install(self, parts: Parts) -> None:
        """Listen once."""
        fault = self
        healthy: type[Any] = parts["WebSocketEventRouter"]

        class OnceListeningRouter(healthy):  # type: ignore[misc]
            async def _listen(self, ready: Any) -> None:
                fault.reached()
                while True:
                    try:
                        await self._listen_once(ready)
                    except (RedisError, OSError):
                        if fault.fires():
                            fault.triggered()
                            return
                    await asyncio.sleep(RECONNECT_SECONDS)

        parts["WebSocketEventRouter"] = OnceListeningRouter
