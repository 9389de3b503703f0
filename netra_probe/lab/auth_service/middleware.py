"""What every answer of the auth service goes through. Plain ASGI: nothing here buffers a body or changes a context."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1_048_576


class NoStore:
    """Answers of an auth service belong to one caller: no cache may keep them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"cache-control", b"no-store")]
            await send(message)

        await self._app(scope, receive, stamped if scope["type"] == "http" else send)


class BodyLimit:
    """413 for bodies that no request of this service needs, judged by what arrives and not by what is announced."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                # FastAPI lets this pass while it reads a body, and turns everything else into 400
                raise HTTPException(413, "Request body too large")
            return message

        await self._app(scope, counted, send)


def middleware(frontend_url: str) -> list[Middleware]:
    """The stack, outermost first."""
    return [
        Middleware(NoStore),
        Middleware(
            CORSMiddleware,
            allow_origins=[frontend_url.rstrip("/")],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            allow_credentials=True,
        ),
        Middleware(BodyLimit),
    ]
