"""Middleware of the healthy backend: nothing personal is ever cached, and no body grows without bound."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
