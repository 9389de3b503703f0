"""Routes for whoever operates the lab: the state of a process, its configuration read again, its variables.

Each answers 404 without the operator's token.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from netra_probe.lab.shared.faults import Fault
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.live_configuration import LiveConfiguration

STATE_PATH = "/lab/state"
RELOAD_PATH = "/lab/reload"
ENVIRONMENT_PATH = "/lab/environment"
OPERATOR_HEADER = "X-Lab-Operator"

Inspection = Mapping[str, Any]
Inspector = Callable[[], Inspection | Awaitable[Inspection]]


def state_route(service: str, faults: Sequence[Fault] = (), inspector: Inspector | None = None) -> Route:
    """A route that shows process, connections, tasks, pool and fault counters; 404 without the operator's token.

    `inspector` adds or replaces entries, typically ``connections`` (live sockets) and ``pool`` (sizes). Being a plain
    Starlette route it never appears in ``/openapi.json``: ``app.router.routes.append(state_route(...))``.
    """
    started = time.monotonic()

    async def state(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        body: dict[str, Any] = {
            "service": service,
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - started, 3),
            "connections": 0,
            "tasks": len(asyncio.all_tasks()),
            "pool": {},
            "faults": {fault.id: fault.counts() for fault in faults},
        }
        if inspector is not None:
            extra = inspector()
            body.update(await extra if inspect.isawaitable(extra) else extra)
        return JSONResponse(body)

    return Route(STATE_PATH, state, methods=["GET"], include_in_schema=False)


def reload_route(configuration: LiveConfiguration) -> Route:
    """A route that reads the configuration again and names what changed; 404 without the operator's token."""

    async def reload(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse(configuration.reload())

    return Route(RELOAD_PATH, reload, methods=["POST"], include_in_schema=False)


def environment_route() -> Route:
    """A route that names the variables of this process, and of a child of it; 404 without the operator's token.

    Instead of a value it shows a fingerprint, keyed with the token: services that hold the same value show the same.
    """

    async def environment(request: Request) -> Response:
        if not _is_operator(request):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        variables = get_env()
        key = (variables.get("LAB_OPERATOR_TOKEN") or "").encode()

        def fingerprint(value: str) -> str:
            return hmac.new(key, value.encode(), "sha256").hexdigest()[:16]

        held = [
            [name, variables.get_variable_source(name), fingerprint(value)]
            for name, value in sorted(variables.get_all().items())
        ]
        child = [[name, "", fingerprint(value)] for name, value in sorted(variables.get_subprocess_env().items())]
        return JSONResponse({"held": held, "child": child})

    return Route(ENVIRONMENT_PATH, environment, methods=["GET"], include_in_schema=False)


def _is_operator(request: Request) -> bool:
    token = get_env().get("LAB_OPERATOR_TOKEN") or ""
    return bool(token) and hmac.compare_digest(token.encode(), request.headers.get(OPERATOR_HEADER, "").encode())
