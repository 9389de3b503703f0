"""The auth service's routes for people, under the backend's address: ``/api/v1/auth/*`` and ``/auth/*``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from netra_probe.lab.backend.routes.caller import AnyServices

PREFIXES: Final = ("/api/v1/auth", "/auth")


class RegistrationBody(BaseModel):
    """A new account."""

    email: Annotated[str, Field(max_length=1000)]
    password: Annotated[str, Field(max_length=1000)]
    name: Annotated[str, Field(max_length=1000)] | None = None


class CredentialsBody(BaseModel):
    """An address and its password."""

    email: Annotated[str, Field(max_length=1000)]
    password: Annotated[str, Field(max_length=1000)]


async def register(request: Request, services: AnyServices, body: RegistrationBody) -> JSONResponse:
    """Make an account and log it in."""
    return await _pass_on(request, services, "POST", "/auth/register", body.model_dump(exclude_none=True))


async def log_in(request: Request, services: AnyServices, body: CredentialsBody) -> JSONResponse:
    """Log in with a password."""
    return await _pass_on(request, services, "POST", "/auth/login", body.model_dump())


async def dev_login(request: Request, services: AnyServices) -> JSONResponse:
    """Tokens of the development user, where that is switched on."""
    return await _pass_on(request, services, "POST", "/auth/dev/login", {})


async def log_out(request: Request, services: AnyServices) -> JSONResponse:
    """Revoke the caller's token and end its session."""
    return await _pass_on(request, services, "POST", "/auth/logout", {})


async def config(request: Request, services: AnyServices) -> JSONResponse:
    """What a front end needs to offer a login."""
    return await _pass_on(request, services, "GET", "/auth/config", None)


async def _pass_on(request: Request, services: AnyServices, method: str, path: str, body: Any) -> JSONResponse:
    answer = await services.auth_proxy.send(
        method,
        path,
        address=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", ""),
        authorization=request.headers.get("authorization") if path == "/auth/logout" else None,
        body=body,
    )
    return JSONResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


_HANDLERS: Final[dict[str, Callable[..., Any]]] = {
    "POST {}/register": register,
    "POST {}/login": log_in,
    "POST {}/dev_login": dev_login,
    "POST {}/logout": log_out,
    "GET {}/config": config,
}
ROUTES: Final[dict[str, Callable[..., Any]]] = {
    key.format(prefix): handler for prefix in PREFIXES for key, handler in _HANDLERS.items()
}
