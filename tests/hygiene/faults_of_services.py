"""Defects of hygiene in the backend: one for each rule, none of which leaks anybody's data."""

from __future__ import annotations

import functools
import importlib
import itertools
from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts


class TokenFromQuery(Fault):
    """Requests are authenticated by a token in their address as well as by a header."""

    id = "Q-QUERY"

    def install(self, parts: Parts) -> None:
        class FromQuery:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                query = scope.get("query_string", b"").decode()
                if scope["type"] == "http" and query.startswith(("token=", "access_token=")):
                    bearer = f"Bearer {query.partition('=')[2]}".encode()
                    scope = {**scope, "headers": [*scope["headers"], (b"authorization", bearer)]}
                await self._app(scope, receive, send)

        parts["middleware"] = [FromQuery, *parts["middleware"]]


class EveryOrigin(Fault):
    """Whatever origin asks is allowed, with credentials; a quota is announced and not kept."""

    id = "Q-ORIGINS"

    def install(self, parts: Parts) -> None:
        class Reflecting:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                origin = dict(scope.get("headers", [])).get(b"origin")

                async def told(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        more = [(b"x-ratelimit-limit", b"5")]
                        if origin:
                            more += [(b"access-control-allow-origin", origin)]
                            more += [(b"access-control-allow-credentials", b"true")]
                        kept = [p for p in message["headers"] if not p[0].startswith(b"access-control")]
                        message = {**message, "headers": [*kept, *more]}
                    await send(message)

                await self._app(scope, receive, told if scope["type"] == "http" else send)

        parts["middleware"] = [Reflecting, *parts["middleware"]]


class WrongStatuses(Fault):
    """A foreign thread is refused with 500, a quote in an id is a failure, and ids of threads can be guessed."""

    id = "Q-STATUSES"

    def install(self, parts: Parts) -> None:
        from starlette.responses import JSONResponse

        from netra_probe.lab.backend.errors import Forbidden

        module: Any = importlib.import_module("netra_probe.lab.backend.data.threads")
        healthy, numbers = parts["GET /api/runs/{run_id}"], itertools.count(1)
        store: type[Any] = parts["ThreadStore"]
        create_id = module.new_thread_id

        @functools.wraps(healthy)
        async def failing(**arguments: Any) -> Any:
            if "'" in arguments["run_id"]:
                raise ValueError("unexpected")
            return await healthy(**arguments)

        messages = parts["GET /api/threads/{thread_id}/messages"]

        @functools.wraps(messages)
        async def wrapped(**arguments: Any) -> Any:
            try:
                return await messages(**arguments)
            except Forbidden:
                return JSONResponse({"detail": "500: 403: Access denied"}, status_code=500)

        class Counting(store):  # type: ignore[misc]
            async def create(self, **more: Any) -> Any:
                beginning = create_id()[len("thread_") :][:1]
                worker = int(beginning, 16)
                module.new_thread_id = lambda: f"thread_{worker:02d}{next(numbers):06d}"
                return await super().create(**more)

        parts["GET /api/runs/{run_id}"] = failing
        parts["GET /api/threads/{thread_id}/messages"] = wrapped
        parts["ThreadStore"] = Counting


class OpenSockets(Fault):
    """Sockets open for every page and for nobody, and take messages of any size."""

    id = "Q-SOCKETS"

    def install(self, parts: Parts) -> None:
        from netra_probe.lab.backend.errors import NotAuthenticated
        from netra_probe.lab.backend.unified_authentication_service import Principal
        from netra_probe.lab.backend.websocket_core.client_messages import ClientMessage

        authentication: type[Any] = parts["UnifiedWebSocketAuth"]
        messages: type[Any] = parts["ClientMessages"]

        class Open(authentication):  # type: ignore[misc]
            def origin_allowed(self, headers: Any) -> bool:
                return True

            async def _identify(self, websocket: Any, offered: Any) -> Any:
                try:
                    return await super()._identify(websocket, offered)
                except NotAuthenticated:
                    return Principal(user_id="visitor", email="", token="")

        class AnySize(messages):  # type: ignore[misc]
            async def handle(self, session: Any, text: str) -> None:
                message = ClientMessage.parse(text)
                await self.handlers.get(message.type, self.acknowledge)(session, message)

        parts["UnifiedWebSocketAuth"] = Open
        parts["ClientMessages"] = AnySize


class RepeatingSockets(Fault):
    """An error frame repeats the beginning of the token, and half of the announced size is too much."""

    id = "Q-FRAMES"

    def install(self, parts: Parts) -> None:
        from netra_probe.lab.backend.errors import InvalidRequest
        from netra_probe.lab.backend.unified_authentication_service import TokenRefused

        service: type[Any] = parts["UnifiedAuthenticationService"]
        messages: type[Any] = parts["ClientMessages"]

        class Repeating(service):  # type: ignore[misc]
            async def authenticate_token(self, token: Any, **more: Any) -> Any:
                try:
                    return await super().authenticate_token(token, **more)
                except TokenRefused as refusal:
                    raise TokenRefused(f"Not accepted: Bearer {token[:20]}…", reason=refusal.reason) from None

        class Half(messages):  # type: ignore[misc]
            async def handle(self, session: Any, text: str) -> None:
                if len(text) > session.services.settings.limits.message_bytes // 2:
                    refusal = InvalidRequest("Too large")
                    from netra_probe.lab.backend.websocket_core import frames

                    await session.send(frames.error_frame(refusal.code, refusal.message))
                    return
                await super().handle(session, text)

        parts["UnifiedAuthenticationService"] = Repeating
        parts["ClientMessages"] = Half


class AlwaysWell(Fault):
    """Health is a constant."""

    id = "Q-HEALTH"

    def install(self, parts: Parts) -> None:
        async def well() -> dict[str, str]:
            return {"status": "healthy"}

        parts["GET /health"] = parts["GET /health/ready"] = well
