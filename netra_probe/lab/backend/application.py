"""The ASGI application around the components: routes, errors, start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_probe.lab.backend.errors import BackendError, RateLimited
from netra_probe.lab.backend.requests import Services, current_caller
from netra_probe.lab.backend.routes import AUTH_EVENTS, ROUTES, UNLISTED, VERSION
from netra_probe.lab.shared.faults import Fault, Parts
from netra_probe.lab.shared.operator_routes import state_route

MAX_BODY_BYTES = 1_048_576


class NoStore:
    """Tells every cache on the way that an answer is for its asker only (RFC 9111 §5.2.2.5)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                headers.add_vary_header("Authorization")
            await send(message)

        await self._app(scope, receive, send_marked)


class BodyLimit:
    """Refuses bodies over one megabyte: by their declared length at once, otherwise as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            body = {"detail": f"The body is larger than {MAX_BODY_BYTES} bytes.", "error_code": "BODY_TOO_LARGE"}
            await JSONResponse(body, status_code=413)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                # an undeclared flood: hang up on it, as if the sender had
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, receive_counted, send)


log = logging.getLogger(__name__)

SOCKET_PATHS = ("/ws", "/websocket", "/api/v1/websocket")


def build_application(services: Services, parts: Parts, faults: Sequence[Fault]) -> FastAPI:
    """FastAPI over `services`, with the route handlers and middleware that `parts` names."""
    app = FastAPI(title="Netra backend", version=VERSION, lifespan=lambda app: _lifespan(services))
    app.state.services = services
    app.dependency_overrides[current_caller] = parts["current_caller"]
    for key in ROUTES:
        method, _, path = key.partition(" ")
        app.add_api_route(path, parts[key], methods=[method], name=key, operation_id=_operation_id(key))
    for key in UNLISTED:
        method, _, path = key.partition(" ")
        app.add_api_route(path, parts[key], methods=[method], include_in_schema=False)
    app.add_api_route(AUTH_EVENTS, parts[f"POST {AUTH_EVENTS}"], methods=["POST"], include_in_schema=False)
    for path in SOCKET_PATHS:
        app.add_api_websocket_route(path, _socket_route(services))
    app.router.routes.append(state_route("backend", faults, lambda: _inspection(services)))
    app.add_exception_handler(BackendError, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RedisError, _store_down)
    app.add_exception_handler(Exception, _failure)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[services.settings.frontend_url],
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        allow_credentials=True,
    )
    for middleware in reversed(parts["middleware"]):
        app.add_middleware(middleware)
    return app


@asynccontextmanager
async def _lifespan(services: Services) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for client in services.clients:
            stack.push_async_callback(client.aclose)
        stack.push_async_callback(services.database.close)
        await services.database.connect()
        await services.database.migrate()
        stack.push_async_callback(services.router.stop)
        stack.push_async_callback(services.control.stop)
        stack.push_async_callback(services.registry.close)
        await asyncio.gather(services.router.start(), services.control.start())
        await services.recovery.close_left_open()
        await services.exports.give_up_left_over()
        services.worker.start()
        stack.push_async_callback(services.worker.stop)
        await services.watch.start()
        stack.push_async_callback(services.watch.stop)
        yield


def _socket_route(services: Services) -> Any:
    async def socket(websocket: WebSocket) -> None:
        principal = await services.websocket_auth.authenticate(websocket)
        if principal is not None:
            await services.open_socket(websocket, principal, services).run()

    return socket


def _inspection(services: Services) -> dict[str, Any]:
    return {
        "backend": services.settings.name,
        "connections": len(services.hub),
        "listener": services.router.listener(),
        "pool": services.database.pool_state(),
        "agents": services.registry.health(),
        "sessions": len(services.watch),
    }


def _operation_id(key: str) -> str:
    method, _, path = key.partition(" ")
    words = path.replace("{", "").replace("}", "").strip("/").replace("/", "_")
    return f"{method.lower()}_{words}"


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BackendError)
    headers = {"Retry-After": str(int(error.retry_after) + 1)} if isinstance(error, RateLimited) else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"detail": error.message, "error_code": error.code}
    return JSONResponse(body, status_code=error.status, headers=headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Name the fields that are wrong, without echoing what was sent."""
    assert isinstance(error, RequestValidationError)
    problems = [
        {"loc": [str(part)[:100] for part in problem["loc"]], "msg": problem["msg"], "type": problem["type"]}
        for problem in error.errors()
    ]
    return JSONResponse({"detail": problems, "error_code": "INVALID_REQUEST"}, status_code=422)


async def _store_down(request: Request, error: Exception) -> JSONResponse:
    log.warning("Redis failed: %s", type(error).__name__)
    body = {"detail": "A store cannot be reached; try again in a moment.", "error_code": "DEPENDENCY_DOWN"}
    return JSONResponse(body, status_code=503)


async def _failure(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse({"detail": "Internal error.", "error_code": "INTERNAL_ERROR"}, status_code=500)
