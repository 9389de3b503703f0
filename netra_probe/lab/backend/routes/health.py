"""Health that asks its dependencies instead of hoping."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from netra_probe.lab.backend.routes.caller import AnyServices
from netra_probe.lab.backend.services import Services

VERSION = "1.0.0"


async def health(services: AnyServices) -> JSONResponse:
    """503 while PostgreSQL or Redis does not answer; ``degraded`` while nobody can sign in."""
    postgres, redis, auth = await asyncio.gather(
        services.database.health(), _redis_health(services), services.authentication.health()
    )
    stores_answer = postgres["status"] == redis["status"] == "healthy"
    status = "unhealthy" if not stores_answer else "healthy" if auth["status"] == "healthy" else "degraded"
    body = {
        "status": status,
        "service": "backend",
        "backend": services.settings.name,
        "version": VERSION,
        "dependencies": {"postgresql": postgres, "redis": redis, "auth_service": auth},
    }
    return JSONResponse(body, status_code=200 if stores_answer else 503)


async def live(services: AnyServices) -> dict[str, Any]:
    """The process answers."""
    return {"status": "alive", "service": "backend", "backend": services.settings.name, "version": VERSION}


async def _redis_health(services: Services) -> dict[str, Any]:
    try:
        async with asyncio.timeout(2.0):
            await services.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return {"status": "unhealthy", "error": type(error).__name__}
    return {"status": "healthy"}
