"""R2: uvicorn on the plain asyncio loop begins a request in the context of the one before on its connection."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from netra_probe.lab.shared.faults import Fault, Parts, register

SETTINGS = {"LAB_SERVER_LOOP": "asyncio", "LAB_SERVER_RESETS_CONTEXT": "0"}
"""What the services are started with: the loop, and no new context for each request."""


@register
class UvicornKeepsContext(Fault):
    """R2: the current user is in a context variable that nobody resets, and uvicorn carries contexts over.

    Breaks: nothing by itself: middleware keeps whom it has authenticated in a context variable, for handlers, logs and
        traces to read, and asks again only where there is nobody yet. It relies on each request having its own context.
    Incident: uvicorn on the plain asyncio loop (Kludex/uvicorn#2167, python/cpython#140947). At 65,536 bytes of body it
        stops reading, and goes on reading from within the request's task; the event loop notes the context of whoever
        asks it to read, and every later request of the connection begins in that. uvloop does not, nor does uvicorn
        with ``reset_contextvars``.
    Trigger: on one connection, a request of one user with a body of more than 65,536 bytes, then a request of another
        user or of nobody, as a proxy that pools connections sends them.
    Symptom: the second request is answered for the first user, whoever its own token names; other connections are
        fine, and so is this one before the large body.
    """

    id = "R2"
    layer = "execution"
    title = "uvicorn carries a context to the next request"
    breaks = "nothing: uvicorn with loop=asyncio under a context variable that is not reset"
    trigger = (
        "one keep-alive connection: A sends a REST body of more than 65,536 bytes (PUT /api/users/me), "
        "then B or nobody sends any REST request on the same connection"
    )
    symptom = "the next request on the connection is answered for the previous user"
    checkers = ("C1", "C8")

    def install(self, parts: Parts) -> None:
        """Keep the current user where many applications do."""
        fault = self
        healthy = parts["current_caller"]
        current: ContextVar[Any] = ContextVar("current_principal", default=None)

        class CurrentUser:
            """Authenticates a request before anything else sees it."""

            def __init__(self, app: ASGIApp) -> None:
                self._app = app

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                if scope["type"] == "http" and current.get() is None:
                    from netra_probe.lab.backend.errors import BackendError
                    from netra_probe.lab.backend.requests import services_of
                    from netra_probe.lab.backend.unified_authentication_service import bearer_token

                    request = Request(scope)
                    token = bearer_token(request.headers.get("authorization"))
                    with contextlib.suppress(BackendError):  # routes that want a user say so
                        current.set(await services_of(request).authentication.authenticate_token(token))
                await self._app(scope, receive, send)

        async def caller_of_the_context(request: Request) -> Any:
            from netra_probe.lab.backend.requests import Caller, services_of
            from netra_probe.lab.backend.unified_authentication_service import bearer_token

            fault.reached()
            principal = current.get()
            if principal is None:
                return await healthy(request)
            if bearer_token(request.headers.get("authorization")) != principal.token:
                fault.triggered()
            services = services_of(request)
            return Caller(principal=principal, services=services, data=services.chat.data_of(principal))

        parts["current_caller"] = caller_of_the_context
        parts["middleware"] = [CurrentUser, *parts["middleware"]]
