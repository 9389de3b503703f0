"""The operator's view of one service process, for the owner of the lab and nobody else.

``GET /lab/state`` shows it, ``POST /lab/reload`` makes it read its configuration again.
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


def _is_operator(request: Request) -> bool:
    token = get_env().get("LAB_OPERATOR_TOKEN") or ""
    return bool(token) and hmac.compare_digest(token.encode(), request.headers.get(OPERATOR_HEADER, "").encode())
