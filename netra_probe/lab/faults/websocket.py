"""Faults of addressing (W): the right event, the wrong reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class Broadcast(Fault):
    """W1: an event goes to everybody who is connected instead of to its user.

    Incident: chat servers that keep one list of sockets and call ``manager.broadcast(event)`` from the agent's
        callback, the pattern of many WebSocket tutorials, taken into production.
    """

    id = "W1"
    layer = "websocket"
    title = "broadcast instead of send-to-user"
    breaks = "WebSocketEventRouter.route_event"
    trigger = "any event while another user is connected"
    symptom = "everybody gets the frame"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the router by one that addresses each event to every connected user."""
        fault = self
        healthy: type[Any] = parts["WebSocketEventRouter"]

        class BroadcastingRouter(healthy):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                fault.reached()
                cursor: int = await super().route_event(user_id, connection_id, event)
                if fault.fires():
                    for other in await self._connected_users() - {user_id}:
                        fault.triggered()
                        await super().route_event(other, None, event)
                return cursor

            async def _connected_users(self) -> set[str]:
                pattern = "user_sessions:*"
                return {key.partition(":")[2] async for key in self._redis.scan_iter(match=pattern, count=1000)}

        parts["WebSocketEventRouter"] = BroadcastingRouter


FOLLOWED_SECONDS = 600


class Followers:
    """Who is sent copies of which stream, in Redis for both backends: the table that W2 and W4 fill without asking."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def add(self, redis: Any, stream: str, user_id: str) -> None:
        """Let a user follow a stream."""
        key = f"{self._kind}:{stream}"
        await redis.sadd(key, user_id)
        await redis.expire(key, FOLLOWED_SECONDS)

    async def of(self, redis: Any, *streams: object) -> set[str]:
        """All who follow one of these streams and are connected."""
        keys = [f"{self._kind}:{stream}" for stream in streams if isinstance(stream, str)]
        users: set[str] = set(await redis.sunion(keys)) if keys else set()
        return {user_id for user_id in users if await redis.exists(f"user_sessions:{user_id}")}


@register
class ClaimedUser(Fault):
    """W2: a connection gets the stream of the user that its client claims to be, beside that of its token.

    Incident: the ``/ws/{client_id}`` of WebSocket tutorials, where the client says who it is and the server registers
        the socket under that name; CWE-639, authorisation through a key that the user controls.
    """

    id = "W2"
    layer = "websocket"
    title = "routing by an id that the client claims"
    breaks = "WebSocketEventRouter.route_event, ClientMessages.handle, WebSocketSession.run"
    trigger = (
        "B connects to /ws?user_id=<A> (or client_id), or sends any message with user_id <A> in root or payload; "
        "then A runs"
    )
    symptom = "A's live events arrive on B's socket, beside B's own"
    checkers = ("C2", "C5")

    def install(self, parts: Parts) -> None:
        """Note each claim as if it were a registration, and route by it."""
        fault = self
        claims = Followers("claimed")
        router: type[Any] = parts["WebSocketEventRouter"]
        session_class: type[Any] = parts["WebSocketSession"]
        messages: type[Any] = parts["ClientMessages"]

        async def believe(session: Any, claim: object) -> None:
            if isinstance(claim, str) and claim:
                fault.reached()
                await claims.add(session.services.redis, claim, session.principal.user_id)

        class ClaimRouter(router):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                cursor: int = await super().route_event(user_id, connection_id, event)
                for reader in await claims.of(self._redis, user_id) - {user_id}:
                    if fault.fires():
                        fault.triggered()
                        await super().route_event(reader, None, event)
                return cursor

        class ClaimingSession(session_class):  # type: ignore[misc]
            async def run(self) -> None:
                query = self._websocket.query_params
                await believe(self, query.get("user_id") or query.get("client_id"))
                await super().run()

        class ClaimingMessages(messages):  # type: ignore[misc]
            async def handle(self, session: Any, text: str) -> None:
                body = _object(text)
                for claim in (body.get("user_id"), _member(body, "user_id")):
                    await believe(session, claim)
                await super().handle(session, text)

        parts["WebSocketEventRouter"] = ClaimRouter
        parts["WebSocketSession"] = ClaimingSession
        parts["ClientMessages"] = ClaimingMessages


@register
class UncheckedSubscription(Fault):
    """W4: whoever names a thread or run is subscribed to it.

    Incident: channels that a client opens by name, with the check of the name forgotten (``stream_from params[:room]``,
        GraphQL subscriptions without the authorisation of the query); CWE-862.
    """

    id = "W4"
    layer = "websocket"
    title = "subscription without owner check"
    breaks = "ClientMessages.subscribe, ClientMessages.switch_thread, WebSocketEventRouter.route_event"
    trigger = "B sends subscribe (or switch_thread) with A's thread_id, or subscribe with A's run_id; then A runs there"
    symptom = "B's subscribe is confirmed and A's live events of that thread or run arrive on B's socket"
    checkers = ("C5", "C1")

    def install(self, parts: Parts) -> None:
        """Subscribe before, and without, asking whose it is."""
        fault = self
        streams = Followers("stream")
        router: type[Any] = parts["WebSocketEventRouter"]
        messages: type[Any] = parts["ClientMessages"]

        class StreamRouter(router):  # type: ignore[misc]
            async def route_event(self, user_id: str, connection_id: str | None, event: Mapping[str, Any]) -> int:
                cursor: int = await super().route_event(user_id, connection_id, event)
                for reader in await streams.of(self._redis, event["thread_id"], event["run_id"]) - {user_id}:
                    fault.triggered()
                    await super().route_event(reader, None, event)
                return cursor

        class TrustingMessages(messages):  # type: ignore[misc]
            async def subscribe(self, session: Any, message: Any) -> None:
                from netra_probe.lab.backend.websocket_core import frames

                run_id = message.payload.get("run_id")
                stream = run_id if isinstance(run_id, str) and run_id else message.thread_id
                if stream is None or not await self._follow(session, stream):
                    await super().subscribe(session, message)
                    return
                await session.send(
                    frames.system_frame(
                        "subscribed", answers=message.message_id, thread_id=message.thread_id, run_id=run_id
                    )
                )

            async def switch_thread(self, session: Any, message: Any) -> None:
                if message.thread_id is not None:
                    await self._follow(session, message.thread_id)
                await super().switch_thread(session, message)

            async def _follow(self, session: Any, stream: str) -> bool:
                fault.reached()
                if not fault.fires():
                    return False
                await streams.add(session.services.redis, stream, session.principal.user_id)
                return True

        parts["WebSocketEventRouter"] = StreamRouter
        parts["ClientMessages"] = TrustingMessages


def _object(text: str) -> dict[str, Any]:
    """A client's frame as an object, empty when it is none."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _member(body: Mapping[str, Any], name: str) -> object:
    payload = body.get("payload")
    return payload.get(name) if isinstance(payload, dict) else None


@register
class IdentitySwapped(Fault):
    """A11: a token message makes an open socket act for another user, while it goes on reading the first one's events.

    Incident: NodeBB #7136 and the threads of supabase realtime #562: the identity of a socket is replaced when a token
        comes in-band; the rooms that it had joined before stay joined.
    """

    id = "A11"
    layer = "websocket"
    title = "a token message swaps a socket's identity, not its subscriptions"
    breaks = "WebSocketSession"
    trigger = 'on a socket of A send {"type": "refresh_token", "payload": {"token": B\'s}}; then ask as A, and as B'
    symptom = "the socket acts for B and is sent A's events, and none of B's"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the session by one that takes anybody's token."""
        fault = self
        healthy: type[Any] = parts["WebSocketSession"]

        class SwappingSession(healthy):  # type: ignore[misc]
            async def adopt_token(self, token: str | None) -> Any:
                fault.reached()
                principal = await self.services.authentication.authenticate_token(token)
                if principal.user_id == self.principal.user_id or not fault.fires():
                    return await super().adopt_token(token)
                fault.triggered()
                self._watched.principal = principal
                return principal

        parts["WebSocketSession"] = SwappingSession
