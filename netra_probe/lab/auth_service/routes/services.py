"""Routes between services: a token for a service, its validation, a token for a user on a service's word."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from netra_probe.lab.auth_service.core import CoreOf, IsService, ServiceOnly
from netra_probe.lab.auth_service.errors import BadInput, Forbidden, NotAuthenticated, NotFound
from netra_probe.lab.auth_service.routes.endpoint import Endpoint
from netra_probe.lab.auth_service.routes.introspection import TokenBody


class ServiceLogin(BaseModel):
    """A service's credentials."""

    service_id: str
    service_secret: str


class TokenOrder(BaseModel):
    """An access token that a service wants for one of its users."""

    user_id: str
    permissions: list[str] | None = None
    expires_in: int | None = Field(default=None, ge=1)


async def service_token(body: ServiceLogin, core: CoreOf) -> dict[str, Any]:
    """A token of a service's own; it opens nothing that belongs to a user."""
    if not core.credentials.match(body.service_id, body.service_secret):
        raise NotAuthenticated("Invalid service credentials", reason="invalid_service_credentials")
    extra = {"service": body.service_id, "permissions": ["service"]}
    token = core.issuer.issue("service", body.service_id, extra=extra)
    return {"access_token": token.text, "token_type": "Bearer", "expires_in": token.lifetime}


async def validate_service_token(body: TokenBody, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """The verdict on a service token, with HTTP 200 either way."""
    try:
        found = await core.authenticator.authenticate(body.token, "service")
    except NotAuthenticated as refusal:
        return {"valid": False, "error": refusal.reason, "message": refusal.detail}
    return {"valid": True, "service_id": found.claims.service, "permissions": list(found.claims.permissions)}


async def create_token(body: TokenOrder, core: CoreOf, _service: ServiceOnly) -> dict[str, Any]:
    """An access token for an existing, usable account, with no more rights and no more time than a login gives."""
    account = await core.accounts.by_id(body.user_id)
    if account is None:
        raise NotFound("There is no such account.")
    if account.why_not_usable() is not None:
        raise Forbidden("This account is not usable.")
    permissions = account.permissions if body.permissions is None else tuple(body.permissions)
    if not set(permissions) <= set(account.permissions):
        raise Forbidden("The account does not have these permissions.")
    longest = core.configuration.integer("ACCESS_TOKEN_SECONDS")
    if body.expires_in is not None and body.expires_in > longest:
        raise BadInput(f"expires_in: at most {longest}")
    token = core.issuer.access(
        account.id, email=account.email, permissions=permissions, session_id=None, lifetime=body.expires_in
    )
    return {"access_token": token.text, "token_type": "Bearer", "expires_in": token.lifetime}


ENDPOINTS = (
    Endpoint(method="POST", path="/auth/service-token", handler=service_token),
    Endpoint(method="POST", path="/auth/validate-service-token", handler=validate_service_token),
    Endpoint(method="POST", path="/auth/create-token", handler=create_token),
)
