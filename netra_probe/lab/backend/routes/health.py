"""Health that asks its dependencies instead of hoping."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from ..services import Services
from .caller import AnyServices

VERSION = "1.0.0"


async def health(services: AnyServices) -> JSONResponse:
    """200 while PostgreSQL, Redis and the auth service answer, 503 otherwise."""
    postgres, redis, auth = await asyncio.gather(
        services.database.health(), _redis_health(services), services.authentication.health()
    )
    healthy = all(part["status"] == "healthy" for part in (postgres, redis, auth))
    body = {
        "status": "healthy" if healthy else "unhealthy",
        "service": "backend",
        "backend": services.settings.name,
        "version": VERSION,
        "dependencies": {"postgresql": postgres, "redis": redis, "auth_service": auth},
    }
    return JSONResponse(body, status_code=200 if healthy else 503)


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
