"""WebSocketSession: one authenticated socket, from its welcome to its close."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Self

from redis.exceptions import RedisError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from netra_probe.lab.backend.chat_service import ChatRequest, StartedRun
from netra_probe.lab.backend.errors import NotAuthenticated
from netra_probe.lab.backend.requests import Services
from netra_probe.lab.backend.unified_authentication_service import Principal
from netra_probe.lab.backend.user_execution_context import new_connection_id
from netra_probe.lab.backend.user_websocket_emitter import plain_event
from netra_probe.lab.backend.websocket_core import frames
from netra_probe.lab.backend.websocket_core.client_messages import ClientMessages
from netra_probe.lab.backend.websocket_core.session_watch import Ending, WatchedSession
from netra_probe.lab.backend.websocket_event_router import EventSubscription, LoggedEvent

LAST_EVENTS = frozenset({"final_report", "agent_error"})
KEEP_ALIVE_SECONDS = 15.0


class RunStream:
    """Reads the user's event stream and passes on what belongs to the one run."""

    def __init__(self, services: Services, principal: Principal, subscription: EventSubscription) -> None:
        self._services = services
        self._principal = principal
        self._subscription = subscription
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._watched = WatchedSession(principal=principal, end=self._end)
        self._started: StartedRun | None = None

    @classmethod
    async def open(cls, services: Services, principal: Principal, request: ChatRequest) -> Self:
        """Find the place in the event stream first, then start the run, so that no event is missed."""
        log = services.event_log
        stream_id = new_connection_id(principal.user_id)
        subscription = EventSubscription(log, principal.user_id, stream_id, cursor=await log.tail(principal.user_id))
        stream = cls(services, principal, subscription)
        stream._started = await services.chat.begin(principal, request)
        return stream

    @property
    def run_id(self) -> str:
        """The run that is streamed."""
        return "" if self._started is None else self._started.run_id

    async def lines(self) -> AsyncIterator[str]:
        """The events of the run, each as one server-sent event."""
        services = self._services
        services.watch.add(self._watched)
        services.hub.add(self._subscription)
        reader = self._events()
        try:
            step: asyncio.Task[str | None] | None = None
            while True:
                step = step or asyncio.create_task(anext(reader, None))
                waiting: list[asyncio.Future[Any]] = [step, self._ending]
                await asyncio.wait(waiting, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if self._ending.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
                    ending = self._ending.result()
                    yield server_sent("error_message", {"error_code": ending.code, "error_message": ending.message})
                    return
                if not step.done():
                    yield ": still working\n\n"
                    continue
                line, step = step.result(), None
                if line is None:
                    return
                yield line
        finally:
            # First what needs no waiting: when the client hangs up, each further wait is cancelled, too.
            services.hub.remove(self._subscription)
            services.watch.remove(self._watched)
            if step is not None and not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
            await reader.aclose()

    async def _events(self) -> AsyncGenerator[str, None]:
        async for batch in self._subscription.batches():
            for entry in batch:
                if entry.event.get("run_id") != self.run_id:
                    continue
                yield server_sent(entry.event["type"], {**entry.event, "cursor": entry.cursor}, cursor=entry.cursor)
                if entry.event["type"] in LAST_EVENTS:
                    return

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)


def server_sent(event: str, data: Any, *, cursor: int | None = None) -> str:
    """One server-sent event."""
    head = "" if cursor is None else f"id: {cursor}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"


log = logging.getLogger(__name__)

TOO_SLOW = Ending(
    code="READER_TOO_SLOW",
    message="Events were not read in time; connect again and resume from the last one you saw.",
    close_code=1013,
)
CROWDED = Ending(code="TOO_MANY_CONNECTIONS", message="You have too many connections open; close one and try again.")
STORE_DOWN = Ending(code="DEPENDENCY_DOWN", message="Events cannot be read; connect again shortly.", close_code=1011)


class WebSocketSession:
    """A few tasks per socket (events out, messages in, heartbeat); the first to end ends the others."""

    def __init__(
        self, websocket: WebSocket, principal: Principal, services: Services, *, messages: ClientMessages
    ) -> None:
        self.connection_id = new_connection_id(principal.user_id)
        self.services = services
        self._websocket = websocket
        self._messages = messages
        self._limits = services.settings.limits
        self._sending = asyncio.Lock()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._watched = WatchedSession(principal=principal, end=self.end, announce=self._announce)
        self._announcements: asyncio.Queue[str] = asyncio.Queue(maxsize=16)
        self._lost_events = False

    def __repr__(self) -> str:
        return f"WebSocketSession({self.connection_id})"

    @property
    def principal(self) -> Principal:
        """The user, with the token that currently vouches for this socket."""
        return self._watched.principal

    def end(self, ending: Ending) -> None:
        """Ask the session to say why and close."""
        if not self._ending.done():
            self._ending.set_result(ending)

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        user_id, services = self.principal.user_id, self.services
        if services.watch.count(user_id) >= self._limits.connections:
            await self._close(CROWDED)
            return
        try:
            self._subscription = await self._subscribe()
        except (RedisError, OSError):
            await self._close(STORE_DOWN)
            return
        services.watch.add(self._watched)
        services.hub.add(self._subscription)
        try:
            await services.router.register_connection(user_id, self.connection_id)
            await self.send(
                frames.welcome_frame(
                    connection_id=self.connection_id,
                    user_id=user_id,
                    environment=services.settings.environment,
                    backend=services.settings.name,
                    cursor=self._subscription.cursor,
                    limits=self._limits,
                    mode=frames.mode_of(self._websocket.query_params.get("mode")),
                )
            )
            if self._lost_events:
                await self.send(frames.system_frame("events_lost", remedy="read thread history"))
            await self._serve()
        except (WebSocketDisconnect, WebSocketDisconnected):
            pass
        finally:
            services.hub.remove(self._subscription)
            services.watch.remove(self._watched)
            with contextlib.suppress(RedisError, OSError):
                await services.router.unregister_connection(user_id, self.connection_id)

    def _announce(self, frame: str) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._announcements.put_nowait(frame)

    async def send(self, text: str) -> None:
        """One frame, in order with all others; a peer that does not read ends the session."""
        async with self._sending:
            try:
                async with asyncio.timeout(self._limits.send_seconds):
                    await self._websocket.send_text(text)
            except TimeoutError:
                self.end(TOO_SLOW)
                raise WebSocketDisconnect(1013) from None

    async def send_event(
        self, kind: str, thread_id: str | None, payload: Mapping[str, Any], *, answers: str | None = None
    ) -> None:
        """An event for this connection alone, in the shape of all events; `answers` is the id of its request."""
        event = plain_event(kind, thread_id=thread_id, payload=payload)
        await self.send(frames.text({**event, **frames.answering(answers)}))

    async def adopt_token(self, token: str | None) -> Principal:
        """Let a new token of the same user vouch for this socket; returns whom it names.

        Raises:
            NotAuthenticated: the token is not accepted or names another user; the old one stays.
        """
        principal = await self.services.authentication.authenticate_token(token)
        if principal.user_id != self.principal.user_id:
            raise NotAuthenticated("The token names another user; this socket keeps its own.")
        self._watched.principal = principal
        return principal

    # Serving

    async def _serve(self) -> None:
        tasks = [
            asyncio.create_task(work, name=f"{self.connection_id}:{name}")
            for name, work in (
                ("events", self._pump()),
                ("messages", self._read()),
                ("heartbeat", self._beat()),
                ("announcements", self._pass_on()),
            )
        ]
        first: list[asyncio.Future[Any]] = [*tasks, self._ending]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, (RedisError, OSError)):
                self.end(STORE_DOWN)
            elif isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, WebSocketDisconnected)):
                log.error("socket task failed", exc_info=result)
                self.end(STORE_DOWN)
        if self._ending.done():
            await self._close(self._ending.result())

    async def _close(self, ending: Ending) -> None:
        with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected, RuntimeError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._websocket.send_text(frames.error_frame(ending.code, ending.message))
                await self._websocket.close(ending.close_code, ending.code)

    async def _pump(self) -> None:
        subscription, log_of_events = self._subscription, self.services.event_log
        user_id = self.principal.user_id
        try:
            async for batch in subscription.batches():
                await self._deliver(batch)
                with contextlib.suppress(RedisError, OSError):
                    await log_of_events.mark_delivered(user_id, subscription.cursor)
        except asyncio.CancelledError:
            with contextlib.suppress(RedisError, OSError):
                await log_of_events.mark_delivered(user_id, subscription.cursor)
            raise

    async def _deliver(self, batch: Sequence[LoggedEvent]) -> None:
        """Send these events in order, and know after each how far this connection is."""
        for entry in batch:
            await self.send(frames.text({**entry.event, "cursor": entry.cursor}))
            self._subscription.cursor = entry.cursor

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            text = message.get("text")
            if text is None:
                await self.send(frames.error_frame("FORMAT_ERROR", "Send text frames with JSON, not binary ones."))
            else:
                await self._messages.handle(self, text)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat_seconds)
            await self.send(frames.plain_frame("ping"))

    async def _pass_on(self) -> None:
        while True:
            await self.send(await self._announcements.get())

    # Resuming

    async def _subscribe(self) -> EventSubscription:
        """Start where the client says it stopped reading, or else after what the user was last sent."""
        user_id, log_of_events = self.principal.user_id, self.services.event_log
        query = self._websocket.query_params
        cursor = await self._cursor_of_query(query)
        if cursor is None or cursor > await log_of_events.tail(user_id):
            cursor = await log_of_events.delivered(user_id)
        self._lost_events = await log_of_events.dropped(user_id) > cursor
        return EventSubscription(log_of_events, user_id, self.connection_id, cursor=cursor)

    async def _cursor_of_query(self, query: Mapping[str, str]) -> int | None:
        """``?resume_cursor=<cursor>``, or ``?resume_run=<run id>&resume_seq=<seq>``."""
        if query.get("resume_cursor", "").isdecimal():
            return int(query["resume_cursor"])
        run_id, seq = query.get("resume_run"), query.get("resume_seq", "")
        if run_id is None or not seq.isdecimal():
            return None
        return await self.services.event_log.cursor_of(self.principal.user_id, run_id, int(seq))
