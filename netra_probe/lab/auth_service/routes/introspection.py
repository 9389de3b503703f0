"""Routes that judge a token: validate, verify, blacklist, permissions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from netra_probe.lab.auth_service.authentication import Principal
from netra_probe.lab.auth_service.core import Core, CoreOf, CurrentUser, IsService
from netra_probe.lab.auth_service.errors import NotAuthenticated
from netra_probe.lab.auth_service.routes.accounts import describe
from netra_probe.lab.auth_service.routes.endpoint import Endpoint
from netra_probe.lab.auth_service.tokens import TokenType


class TokenBody(BaseModel):
    """A token to look at."""

    token: str


class ValidationRequest(TokenBody):
    """A token and the type it is supposed to be of."""

    token_type: Literal["access", "refresh", "service"] = "access"


class PermissionRequest(TokenBody):
    """May the bearer do this?"""

    permission: str = Field(min_length=1, max_length=100)


class AuthorizationRequest(TokenBody):
    """May the bearer do this to that? A resource ``user:<id>`` belongs to that user."""

    resource: str = Field(min_length=1, max_length=300)
    action: str = Field(min_length=1, max_length=100)


async def validate(body: ValidationRequest, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """The verdict on a token, with HTTP 200 either way; 503 when it cannot be reached."""
    found = await _judge(core, body.token, body.token_type)
    if isinstance(found, NotAuthenticated):
        return _invalid(found)
    return {
        "valid": True,
        "user_id": found.user_id,
        "email": found.claims.email,
        "permissions": list(found.permissions),
        "expires_at": datetime.fromtimestamp(found.claims.expires_at, UTC).isoformat(),
        "token_type": found.claims.type,
    }


async def validate_and_get_user(body: TokenBody, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """The verdict on an access token together with the account behind it."""
    found = await _judge(core, body.token, "access")
    if isinstance(found, NotAuthenticated):
        return _invalid(found)
    user = describe(found.account) if found.account is not None else None
    return {"valid": True, "user_id": found.user_id, "permissions": list(found.permissions), "user": user}


async def verify(principal: CurrentUser) -> dict[str, Any]:
    """The bearer's own token; 401 when it is not valid."""
    claims = principal.claims
    return {"valid": True, "user_id": principal.user_id, "email": claims.email, "exp": claims.expires_at}


async def check_blacklist(body: TokenBody, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """Has this token been revoked? What is no token of ours counts as revoked: nobody should use it."""
    for type_ in ("access", "refresh", "service"):
        found = await _judge(core, body.token, type_)
        if isinstance(found, Principal):
            return {"blacklisted": False, "status": "active"}
        if found.reason not in ("invalid_token", "invalid_token_type"):
            return {"blacklisted": True, "status": found.reason}
    return {"blacklisted": True, "status": "invalid_token"}


async def check_permission(body: PermissionRequest, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """Does the bearer have a permission?"""
    found = await _judge(core, body.token, "access")
    if isinstance(found, NotAuthenticated):
        return {"has_permission": False, "permission": body.permission, "reason": found.reason}
    return {
        "has_permission": body.permission in found.permissions,
        "permission": body.permission,
        "user_id": found.user_id,
    }


async def check_authorization(body: AuthorizationRequest, core: CoreOf, _service: IsService) -> dict[str, Any]:
    """May the bearer act on a resource? Own resources need the permission, those of others an administrator."""
    found = await _judge(core, body.token, "access")
    verdict: dict[str, Any] = {"resource": body.resource, "action": body.action}
    if isinstance(found, NotAuthenticated):
        return {**verdict, "authorized": False, "reason": found.reason}
    kind, _, owner = body.resource.partition(":")
    if kind == "user" and owner != found.user_id and "admin" not in found.permissions:
        return {**verdict, "authorized": False, "reason": "not_owner", "user_id": found.user_id}
    allowed = body.action in found.permissions
    reason = "allowed" if allowed else "missing_permission"
    return {**verdict, "authorized": allowed, "reason": reason, "user_id": found.user_id}


async def _judge(core: Core, token: str, type_: TokenType) -> Principal | NotAuthenticated:
    try:
        return await core.authenticator.authenticate(token, type_)
    except NotAuthenticated as refusal:
        return refusal


def _invalid(refusal: NotAuthenticated) -> dict[str, Any]:
    return {"valid": False, "error": refusal.reason, "message": refusal.detail}


ENDPOINTS = (
    Endpoint(method="POST", path="/auth/validate", handler=validate),
    Endpoint(method="POST", path="/auth/validate-token-and-get-user", handler=validate_and_get_user),
    Endpoint(method="GET", path="/auth/verify", handler=verify),
    Endpoint(method="POST", path="/auth/verify", handler=verify),
    Endpoint(method="POST", path="/auth/check-blacklist", handler=check_blacklist),
    Endpoint(method="POST", path="/auth/check-permission", handler=check_permission),
    Endpoint(method="POST", path="/auth/check-authorization", handler=check_authorization),
)
