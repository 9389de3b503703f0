"""Health: asked of PostgreSQL and Redis each time, never remembered. And what a front end may know."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import JSONResponse

from netra_probe.lab.auth_service.configuration import SERVICE, VERSION
from netra_probe.lab.auth_service.core import Core, CoreOf
from netra_probe.lab.auth_service.errors import Unavailable
from netra_probe.lab.auth_service.routes.endpoint import Endpoint

CHECK_SECONDS = 1.5


async def health(core: CoreOf) -> JSONResponse:
    """200 when every store answers, 503 otherwise."""
    database, cache = await asyncio.gather(_answers(_ask_database(core)), _answers(_ask_cache(core)))
    healthy = database and cache
    return JSONResponse(
        {
            "status": "healthy" if healthy else "unhealthy",
            "service": SERVICE,
            "version": VERSION,
            "environment": core.configuration.environment,
            "database": "connected" if database else "unreachable",
            "redis": "connected" if cache else "unreachable",
        },
        status_code=200 if healthy else 503,
    )


async def alive() -> dict[str, str]:
    """200 as long as the process answers at all."""
    return {"status": "alive", "service": SERVICE, "version": VERSION}


async def config(core: CoreOf) -> dict[str, Any]:
    """What a front end needs to offer a login; public, hence no secret."""
    own = (core.configuration.get("AUTH_SERVICE_URL") or "").rstrip("/")
    google = core.providers.get("google")
    return {
        "google_client_id": google.client_id if google else "",
        "oauth_enabled": bool(core.providers.names()),
        "oauth_providers": core.providers.names(),
        "development_mode": core.configuration.environment == "development",
        "endpoints": {
            "login": f"{own}/auth/login",
            "logout": f"{own}/auth/logout",
            "callback": f"{own}/auth/callback",
            "token": f"{own}/auth/refresh",
            "user": f"{own}/auth/me",
        },
        "authorized_javascript_origins": [core.configuration.text("FRONTEND_URL")],
    }


async def _ask_database(core: Core) -> None:
    await core.database.fetchval("SELECT 1")


async def _ask_cache(core: Core) -> None:
    with core.cache.guarded() as redis:
        await redis.ping()


async def _answers(question: Any) -> bool:
    try:
        await asyncio.wait_for(question, CHECK_SECONDS)
    except (Unavailable, TimeoutError):
        return False
    return True


ENDPOINTS = (
    *(
        Endpoint(method="GET", path=path, handler=health)
        for path in ("/health", "/health/ready", "/auth/status", "/auth/health")
    ),
    Endpoint(method="GET", path="/health/live", handler=alive),
    Endpoint(method="GET", path="/auth/config", handler=config),
)
