"""Faults of correlation (W): what was meant for one connection is kept under a name that another one has as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from redis.exceptions import RedisError

from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import Fault, Parts, register

OFFLINE = "message_queue:offline"
KEPT_FRAMES = 500
KEPT_SECONDS = 600
WORKING_SECONDS = 0.3
"""How long W5 works on a request or prepares a run, unless somebody else asks meanwhile under the same id."""


class AnswerTo:
    """A session whose answer is sent to whoever waits under the request's id when the answer is there."""

    def __init__(self, session: Any, request_id: str, waiting: dict[str, Any], fault: Fault) -> None:
        self._session = session
        self._request_id = request_id
        self._waiting = waiting
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send(self, text: str) -> None:
        """Answer, perhaps somebody else."""
        if (asker := self._asker()) is not None:
            await asker.send(text)

    async def send_event(self, *args: Any, **options: Any) -> None:
        """Answer with an event, perhaps somebody else."""
        if (asker := self._asker()) is not None:
            await asker.send_event(*args, **options)

    def _asker(self) -> Any:
        self._fault.reached()
        waiting = self._waiting.get(self._request_id)
        if waiting is self._session or not self._fault.fires():
            self._waiting.pop(self._request_id, None)
            return self._session
        self._fault.triggered()
        return self._waiting.pop(self._request_id, None)


@register
class SharedRequestIds(Fault):
    """W5: answers and runs find their way back through one map from the clients' request ids, shared by all clients.

    Incident: CVE-2026-25536, the JSON-RPC transport of the MCP SDK: clients count their requests from zero, the later
        one takes over the entry, gets the other's answer, and the earlier one never gets any.
    """

    id = "W5"
    layer = "websocket"
    title = "request-id map shared by all clients"
    breaks = "ClientMessages.handle, UserWebSocketEmitter"
    trigger = (
        "A and B, sockets on the same backend, at the same instant: get_thread_history (any answered message) with "
        "equal message_id, or runs with equal turn_id / message_id"
    )
    symptom = "B gets the answer to A's request (or the rest of A's run), A gets none"
    checkers = ("C8", "C1")

    def install(self, parts: Parts) -> None:
        """Keep who waits for what under the client's own id only."""
        fault = self
        messages: type[Any] = parts["ClientMessages"]
        emitter: type[Any] = parts["UserWebSocketEmitter"]
        waiting: dict[str, Any] = {}
        working = Meeting(seconds=WORKING_SECONDS)
        turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        streams: dict[str, str] = {}
        starting = Meeting(seconds=WORKING_SECONDS)
        #: Runs that are going on, by the id of their request.
        going_on: Counter[str] = Counter()

        class SharedMapMessages(messages):  # type: ignore[misc]
            async def handle(self, session: Any, text: str) -> None:
                request_id = _request_id(text)
                if request_id is None:
                    await super().handle(session, text)
                    return
                waiting[request_id] = session
                # In order of arrival: were the later one answered first, it would get its own answer.
                turn = turns.setdefault(request_id, asyncio.Lock())
                comes_first = not turn.locked()
                if working.expects(request_id):
                    await working.join(request_id)  # the earlier one has waited for this
                try:
                    async with turn:
                        if comes_first:
                            await working.join(request_id)
                        await super().handle(AnswerTo(session, request_id, waiting, fault), text)
                finally:
                    if waiting.get(request_id) is session:
                        del waiting[request_id]

        class SharedMapEmitter(emitter):  # type: ignore[misc]
            def __init__(self, context: Any, router: Any, connection_id: str | None = None) -> None:
                super().__init__(context, router, connection_id)
                told = context.agent_context
                self._request_id = told.get("turn_id") or told.get("echo", {}).get("message_id")
                self._has_begun = False
                if self._request_id is not None:
                    streams[self._request_id] = context.user_id

            async def _send(self, event: Mapping[str, Any]) -> None:
                own, request_id = self.context.user_id, self._request_id
                if request_id is not None and not self._has_begun:
                    self._has_begun = True
                    going_on[request_id] += 1
                    await starting.join(request_id)
                reader = streams.get(request_id or "", own)
                if reader == own or not fault.fires():
                    await super()._send(event)
                else:
                    fault.triggered()
                    await self._router.route_event(reader, None, event)
                if request_id is not None and event["type"] in ("final_report", "agent_error"):
                    going_on[request_id] -= 1
                    if going_on[request_id] <= 0:
                        del going_on[request_id]
                        streams.pop(request_id, None)

        parts["ClientMessages"] = SharedMapMessages
        parts["UserWebSocketEmitter"] = SharedMapEmitter


@register
class OfflineBufferOfAll(Fault):
    """W6: what comes while its user is away is buffered in one place, and the next one who connects is sent it.

    Incident: an offline queue kept per worker or per slot instead of per user: a key that lost its user part.
    """

    id = "W6"
    layer = "websocket"
    title = "offline buffer flushed to the next user"
    breaks = "WebSocketEventRouter.route_event, WebSocketSession"
    trigger = "A starts a run and disconnects (or runs over REST without a socket); then B connects to any backend"
    symptom = "stale frames of A right after B's welcome, once"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Buffer for everybody in one list, and flush it to whoever comes."""
        fault = self
        router: type[Any] = parts["WebSocketEventRouter"]
        session_class: type[Any] = parts["WebSocketSession"]

        class BufferingRouter(router):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                cursor: int = await super().route_event(user_id, connection_id, event)
                if await self.connections_of(user_id):
                    return cursor
                fault.reached()
                if fault.fires():
                    async with self._redis.pipeline(transaction=True) as pipeline:
                        pipeline.rpush(OFFLINE, json.dumps({"user_id": user_id, "event": event}, default=str))
                        pipeline.ltrim(OFFLINE, -KEPT_FRAMES, -1)
                        pipeline.expire(OFFLINE, KEPT_SECONDS)
                        await pipeline.execute()
                return cursor

        class FlushingSession(session_class):  # type: ignore[misc]
            async def _serve(self) -> None:
                with contextlib.suppress(RedisError, OSError):
                    for entry in await self._take_buffer():
                        # the user's own frames come from their own log as well
                        if entry["user_id"] != self.principal.user_id:
                            fault.triggered()
                            await self.send(json.dumps(entry["event"], ensure_ascii=False))
                await super()._serve()

            async def _take_buffer(self) -> list[dict[str, Any]]:
                async with self.services.redis.pipeline(transaction=True) as pipeline:
                    pipeline.lrange(OFFLINE, 0, -1)
                    pipeline.delete(OFFLINE)
                    entries, _ = await pipeline.execute()
                return [json.loads(entry) for entry in entries]

        parts["WebSocketEventRouter"] = BufferingRouter
        parts["WebSocketSession"] = FlushingSession


def _request_id(text: str) -> str | None:
    """The ``message_id`` of a client's frame, if it has one."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    payload = body.get("payload")
    for holder in (body, payload if isinstance(payload, dict) else {}):
        if isinstance(holder.get("message_id"), str) and holder["message_id"]:
            return str(holder["message_id"])
    return None
