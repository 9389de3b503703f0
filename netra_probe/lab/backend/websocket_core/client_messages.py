"""ClientMessages: what a client may ask for over its socket, and the answers.

Whatever a client claims about users in a message has no effect: the user is the one the handshake authenticated.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from netra_probe.lab.backend.chat_service import ChatRequest
from netra_probe.lab.backend.errors import BackendError, InvalidRequest, RateLimited
from netra_probe.lab.backend.requests import Services
from netra_probe.lab.backend.unified_authentication_service import Principal
from netra_probe.lab.backend.websocket_core import frames


class Connection(Protocol):
    """One authenticated socket. ``WebSocketSession`` is the real one."""

    connection_id: str
    services: Services

    @property
    def principal(self) -> Principal:
        """The user that the connection belongs to."""

    async def send(self, text: str) -> None:
        """Send one frame."""

    async def send_event(
        self, kind: str, thread_id: str | None, payload: Mapping[str, Any], *, answers: str | None = None
    ) -> None:
        """Send an event to this connection alone; `answers` is the id of the request."""

    async def adopt_token(self, token: str | None) -> Principal:
        """Continue with a new token of the same user."""


class FormatProblem(BackendError):
    """A frame is not a message."""

    status = 422
    code = "FORMAT_ERROR"


@dataclass(frozen=True, kw_only=True)
class ClientMessage:
    """One message, with the places merged in which clients put the same thing."""

    type: str
    payload: dict[str, Any]
    thread_id: str | None
    message_id: str | None

    @classmethod
    def parse(cls, text: str) -> ClientMessage:
        """Read ``{"type", "payload", "thread_id"?, "message_id"?}``.

        Raises:
            FormatProblem: not JSON, not an object, or without a type.
        """
        try:
            body = json.loads(text)
            json.dumps(body, ensure_ascii=False).encode()  # refuses unpaired surrogates, which nobody can be sent
        except (ValueError, RecursionError) as error:
            raise FormatProblem('The message is not JSON: send {"type": …, "payload": {…}}.') from error
        if not isinstance(body, dict) or not isinstance(body.get("type"), str) or not body["type"]:
            raise FormatProblem('The message has no type: send {"type": …, "payload": {…}}.')
        payload = body.get("payload", {})
        if not isinstance(payload, dict):
            raise FormatProblem('The payload is not an object: send {"type": …, "payload": {…}}.')
        return cls(
            type=body["type"],
            payload=payload,
            thread_id=_text(body, "thread_id") or _text(payload, "thread_id"),
            message_id=_text(body, "message_id") or _text(payload, "message_id"),
        )

    def request_text(self) -> str:
        """What the user said, under any of the names in use."""
        for name in ("user_request", "content", "message", "text"):
            value = self.payload.get(name)
            if isinstance(value, str) and value.strip():
                return value
        raise InvalidRequest("The message is empty: send payload.content.", code="EMPTY_MESSAGE")


Handler = Callable[[Connection, ClientMessage], Awaitable[None]]


class ClientMessages:
    """One method per type of message; an unknown type is acknowledged and has no effect."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {
            "ping": self.ping,
            "heartbeat": self.heartbeat,
            "pong": self.nothing,
            "start_agent": self.start_run,
            "user_message": self.start_run,
            "chat": self.start_run,
            "agent_request": self.start_run,
            "stop_agent": self.stop_agent,
            "create_thread": self.create_thread,
            "switch_thread": self.switch_thread,
            "get_thread_history": self.thread_history,
            "subscribe": self.subscribe,
            "refresh_token": self.refresh_token,
        }

    async def handle(self, session: Connection, text: str) -> None:
        """Carry out one frame; refusals become ``error_message`` frames and the socket stays open."""
        limits = session.services.settings.limits
        message: ClientMessage | None = None
        try:
            if len(text.encode("utf-8", "surrogatepass")) > limits.message_bytes:
                raise InvalidRequest(
                    f"The message is larger than {limits.message_bytes} bytes: shorten it.", code="MESSAGE_TOO_LARGE"
                )
            message = ClientMessage.parse(text)
            await session.services.limiter.check(session.principal.user_id, "websocket", limit=limits.socket_messages)
            await self.handlers.get(message.type, self.acknowledge)(session, message)
        except BackendError as refusal:
            details: dict[str, Any] = {}
            if message is not None:
                details = {"message_type": message.type[:64], "message_id": message.message_id}
            if isinstance(refusal, RateLimited):
                details["retry_after"] = refusal.retry_after
            await session.send(frames.error_frame(refusal.code, refusal.message, details))

    async def ping(self, session: Connection, message: ClientMessage) -> None:
        await session.send(frames.plain_frame("pong", **frames.answering(message.message_id)))

    async def heartbeat(self, session: Connection, message: ClientMessage) -> None:
        await session.send(frames.plain_frame("heartbeat_ack", **frames.answering(message.message_id)))

    async def nothing(self, session: Connection, message: ClientMessage) -> None:
        """A ``pong`` needs no answer."""

    async def acknowledge(self, session: Connection, message: ClientMessage) -> None:
        await session.send(frames.plain_frame("ack", message_id=message.message_id, received_type=message.type[:64]))

    async def start_run(self, session: Connection, message: ClientMessage) -> None:
        """``start_agent``, ``user_message``, ``chat``, ``agent_request``: all lead to a run."""
        given = message.payload.get("references")
        references = tuple(item for item in given if isinstance(item, str)) if isinstance(given, list) else ()
        echo = {"message_id": message.message_id, "client_run_id": _text(message.payload, "run_id")}
        await session.services.chat.begin(
            session.principal,
            ChatRequest(
                text=message.request_text(),
                thread_id=message.thread_id,
                references=references,
                turn_id=_text(message.payload, "turn_id"),
                echo={name: value for name, value in echo.items() if value is not None},
            ),
            connection_id=session.connection_id,
        )

    async def stop_agent(self, session: Connection, message: ClientMessage) -> None:
        run_id = _text(message.payload, "run_id")
        if run_id is not None:
            await session.services.chat.stop(session.principal, run_id)
            stopped = [run_id]
        else:
            stopped = await session.services.chat.stop_thread(session.principal, _thread(message))
        await session.send(frames.plain_frame("ack", message_id=message.message_id, stopped=stopped))

    async def create_thread(self, session: Connection, message: ClientMessage) -> None:
        metadata = message.payload.get("metadata")
        await session.services.chat.create_thread(
            session.principal,
            title=_text(message.payload, "title"),
            metadata=metadata if isinstance(metadata, dict) else None,
        )

    async def switch_thread(self, session: Connection, message: ClientMessage) -> None:
        await self._send_thread(session, message, "thread_switched")

    async def thread_history(self, session: Connection, message: ClientMessage) -> None:
        await self._send_thread(session, message, "thread_history")

    async def _send_thread(self, session: Connection, message: ClientMessage, kind: str) -> None:
        thread_id = _thread(message)
        data = session.services.chat.data_of(session.principal, thread_id=thread_id)
        thread = await data.threads.get(thread_id)
        messages = await data.messages.of_thread(thread_id, limit=session.services.settings.limits.history_messages)
        payload = {"thread_id": thread_id, "title": thread["title"], "messages": messages}
        await session.send_event(kind, thread_id, payload, answers=message.message_id)

    async def subscribe(self, session: Connection, message: ClientMessage) -> None:
        """A connection gets all events of its user anyway; this confirms that the run or thread is the user's."""
        run_id = _text(message.payload, "run_id")
        data = session.services.chat.data_of(session.principal)
        if run_id is not None:
            thread_id = (await data.runs.get(run_id))["thread_id"]
        else:
            thread_id = (await data.threads.get(_thread(message)))["id"]
        await session.send(
            frames.system_frame("subscribed", answers=message.message_id, thread_id=thread_id, run_id=run_id)
        )

    async def refresh_token(self, session: Connection, message: ClientMessage) -> None:
        """Go on with a new token of the same user."""
        token = _text(message.payload, "token") or _text(message.payload, "access_token")
        principal = await session.adopt_token(token)
        await session.send(
            frames.system_frame("token_refreshed", answers=message.message_id, expires_at=principal.expires_at)
        )


def _text(holder: dict[str, Any], name: str) -> str | None:
    value = holder.get(name)
    return value if isinstance(value, str) and value else None


def _thread(message: ClientMessage) -> str:
    if message.thread_id is None:
        raise InvalidRequest("Say which thread: send thread_id.", code="THREAD_REQUIRED")
    return message.thread_id
