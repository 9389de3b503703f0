"""The operator's view of one service process: ``GET /lab/state``, for the owner of the lab and nobody else."""

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

STATE_PATH = "/lab/state"
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
        token = get_env().get("LAB_OPERATOR_TOKEN") or ""
        given = request.headers.get(OPERATOR_HEADER, "")
        if not token or not hmac.compare_digest(token.encode(), given.encode()):
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
