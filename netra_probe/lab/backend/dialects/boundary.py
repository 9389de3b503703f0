"""SocketBoundary: ASGI middleware that turns the contract's frames into a variant's, at the very edge of the process.

Nothing inside knows of it, so faults and dialects combine: whatever a broken part sends is said in the dialect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_probe.lab.backend.dialects.envelopes import ENCODERS, USER_CONTEXT, Event
from netra_probe.lab.shared.variant import Variant

LINGER_SECONDS = 1.0
"""How long a lingering zombie lives after its welcome."""

_GREETING = "connection_established"


class SocketBoundary:
    """Middleware for the sockets of one process; HTTP passes untouched."""

    def __init__(self, app: ASGIApp, *, variant: Variant, server: str) -> None:
        self._app = app
        self._variant = variant
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        talk = Conversation(receive, send, variant=self._variant, server=self._server)
        await self._app(scope, talk.receive, talk.send)
        await talk.outlive_the_application()


class Conversation:
    """One socket: what the application says on one side, what the client hears on the other."""

    def __init__(self, receive: Receive, send: Send, *, variant: Variant, server: str) -> None:
        self._receive, self._send = receive, send
        self._variant = variant
        self._server = server
        self._encode = ENCODERS.get(variant.dialect)
        self._accept: Message | None = None
        self._spoke = False
        self._closed = False
        self._client_is_gone = False
        self._dies_at: float | None = None

    # From the client

    async def receive(self) -> Message:
        """What the client says; the words of a client to a zombie reach nobody."""
        await self._let_in()
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._client_is_gone = True
                return message
            if message["type"] == "websocket.connect" or not self._is_dead():
                return message

    # To the client

    async def send(self, message: Message) -> None:
        """What the application says."""
        if self._closed or (self._is_dead() and message["type"] in ("websocket.send", "websocket.close")):
            return
        match message["type"]:
            case "websocket.accept":
                self._accept = message
                if self._variant.handshake != "http-403":  # there it waits until this is known to be no refusal
                    await self._let_in()
            case "websocket.send" if (frame := _frame_of(message)) is not None:
                await self._say(frame)
            case "websocket.close":
                self._closed = True
                await self._send(message if self._accept is None else {"type": "websocket.close"})
            case _:
                await self._let_in()
                await self._send(message)

    async def outlive_the_application(self) -> None:
        """A zombie's socket stays open until the client has enough of it."""
        while self._is_dead() and not self._client_is_gone:
            self._client_is_gone = (await self._receive())["type"] == "websocket.disconnect"

    async def _say(self, frame: dict[str, Any]) -> None:
        first, self._spoke = not self._spoke, True
        if first and frame.get("type") == "error_message" and self._variant.handshake != "frame-then-1008":
            await self._refuse()
            return
        await self._let_in()
        if _is_greeting(frame):
            await self._greet(frame)
            return
        event = Event.of(frame) if self._encode is not None else None
        if event is not None and self._encode is not None:
            await self._put(self._encode(event, self._server))
        elif self._variant.dialect == "server":
            await self._put(_as_server_message(frame, self._server))
        else:
            frame.pop(USER_CONTEXT, None)
            await self._put(frame)

    async def _refuse(self) -> None:
        self._closed = True
        if self._variant.handshake == "http-403":
            await self._send({"type": "websocket.close"})  # before it was accepted: HTTP 403
            return
        await self._let_in()
        await self._send({"type": "websocket.close", "code": 1011, "reason": "Internal error"})

    async def _greet(self, frame: dict[str, Any]) -> None:
        welcome = self._variant.welcome
        if welcome == "after-ping":
            await self._put({"type": "ping", "timestamp": frame["timestamp"]})
        if welcome != "none":
            await self._put(_greeting(frame, welcome))
        if self._variant.zombie != "no":
            await self._put({"type": "ping", "timestamp": frame["timestamp"]})
            lives_on = LINGER_SECONDS if self._variant.zombie == "lingering" else 0.0
            self._dies_at = asyncio.get_running_loop().time() + lives_on

    def _is_dead(self) -> bool:
        return self._dies_at is not None and asyncio.get_running_loop().time() >= self._dies_at

    async def _let_in(self) -> None:
        accept, self._accept = self._accept, None
        if accept is not None:
            await self._send(accept)

    async def _put(self, frame: Mapping[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(frame, ensure_ascii=False)})


def _frame_of(message: Message) -> dict[str, Any] | None:
    try:
        frame = json.loads(message.get("text") or "")
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None


def _is_greeting(frame: Mapping[str, Any]) -> bool:
    data = frame.get("data")
    return isinstance(data, dict) and data.get("event") == _GREETING


def _greeting(frame: dict[str, Any], welcome: str) -> Mapping[str, Any]:
    if welcome not in ("plain", "connect"):
        return frame
    data = {name: value for name, value in frame["data"].items() if name != "event"}
    data["user_id"] = str(data["user_id"])[:8]
    if welcome == "connect":
        return {"type": "connect", "data": data, "timestamp": frame["timestamp"]}
    return {**data, "type": _GREETING, "timestamp": frame["timestamp"]}


def _as_server_message(frame: Mapping[str, Any], server: str) -> Mapping[str, Any]:
    """A pong, an acknowledgement or a refusal as other servers put it."""
    data = frame.get("data")
    if not isinstance(data, dict):
        data = {name: value for name, value in frame.items() if name not in ("type", "timestamp")}
    return {
        "type": frame["type"],
        "data": data,
        "timestamp": frame.get("timestamp"),
        "server_id": server,
        "correlation_id": None,
    }
