"""The routes of the auth service; each is a part of its own, named ``"<METHOD> <path>"``, that a fault can replace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse

from netra_probe.lab.auth_service.accounts import Account
from netra_probe.lab.auth_service.core import (
    SERVICE,
    VERSION,
    CallerOf,
    Core,
    CoreOf,
    CurrentUser,
    IsService,
    PersonOrService,
    ServiceOnly,
    Visitor,
)
from netra_probe.lab.auth_service.errors import (
    AuthProblem,
    BadInput,
    Forbidden,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from netra_probe.lab.auth_service.oauth import DEFAULT, cookie_name
from netra_probe.lab.auth_service.sessions import Principal
from netra_probe.lab.auth_service.tokens import TokenType


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A method, a path and the function behind it (FastAPI reads its signature)."""

    method: str
    path: str
    handler: Callable[..., Any]

    @property
    def name(self) -> str:
        """The name of the part."""
        return f"{self.method} {self.path}"


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


HEALTH = (
    *(
        Endpoint(method="GET", path=path, handler=health)
        for path in ("/health", "/health/ready", "/auth/status", "/auth/health")
    ),
    Endpoint(method="GET", path="/health/live", handler=alive),
    Endpoint(method="GET", path="/auth/config", handler=config),
)


DEV_USER_ID = "dev-user-001"


class Registration(BaseModel):
    """A new account."""

    email: str
    password: str
    name: str | None = None


class Credentials(BaseModel):
    """An address and its password."""

    email: str
    password: str


class RefreshRequest(BaseModel):
    """A refresh token, under any of the names that clients use."""

    refresh_token: str | None = None
    refreshToken: str | None = None
    token: str | None = None


async def register(body: Registration, core: CoreOf, caller: CallerOf) -> dict[str, Any]:
    """Make an account and log it in."""
    pair = await core.logins.register(email=body.email, password=body.password, name=body.name or "", caller=caller)
    return pair.as_body()


async def log_in(body: Credentials, core: CoreOf, caller: CallerOf) -> dict[str, Any]:
    """Log in with a password."""
    return (await core.logins.log_in(email=body.email, password=body.password, caller=caller)).as_body()


async def dev_login(core: CoreOf, caller: CallerOf) -> dict[str, Any]:
    """Tokens of the development user, where that is switched on and nowhere near production."""
    if not core.configuration.flag("AUTH_DEV_LOGIN") or core.configuration.environment not in ("development", "test"):
        raise Forbidden("Development login is not enabled.")
    account = await core.accounts.ensure(
        user_id=DEV_USER_ID, email="dev@netra-lab.example", name="Development User", provider="dev"
    )
    return (await core.logins.start_session(account, caller)).as_body()


async def refresh(body: RefreshRequest, core: CoreOf, caller: CallerOf) -> dict[str, Any]:
    """Exchange a refresh token, once, for a new pair."""
    token = body.refresh_token or body.refreshToken or body.token
    if not token:
        raise BadInput("refresh_token: Field required")
    return (await core.logins.refresh(token, caller)).as_body()


async def log_out(principal: CurrentUser, core: CoreOf, caller: CallerOf) -> dict[str, str]:
    """Revoke the token and end its session."""
    await core.logins.log_out(principal, caller)
    return {"message": "Logged out", "status": "success"}


async def me(principal: CurrentUser) -> dict[str, Any]:
    """The caller's own account."""
    expires = datetime.fromtimestamp(principal.claims.expires_at, UTC)
    return {
        **describe(_account(principal)),
        "permissions": list(principal.permissions),
        "token_expires_at": expires.isoformat(),
    }


async def user(user_id: str, core: CoreOf, caller: PersonOrService) -> dict[str, Any]:
    """An account, for its owner; for a service or an administrator any."""
    if caller.principal is not None and caller.principal.user_id == user_id:
        return describe(_account(caller.principal))
    caller.must_be_privileged("This is not your account.")
    account = await core.accounts.by_id(user_id)
    if account is None:
        raise NotFound("There is no such account.")
    return describe(account)


async def delete_user(user_id: str, principal: CurrentUser, core: CoreOf) -> dict[str, str]:
    """Remove the caller's own account and everything that names it."""
    if user_id != principal.user_id:
        raise Forbidden("This is not your account.")
    await core.logins.delete(user_id)
    return {"message": "Account deleted", "status": "success"}


async def disable_user(user_id: str, core: CoreOf, caller: PersonOrService) -> dict[str, str]:
    """Disable an account (services and administrators): its tokens stop working at once."""
    return await _set_active(user_id, core, caller, False)


async def enable_user(user_id: str, core: CoreOf, caller: PersonOrService) -> dict[str, str]:
    """Enable an account again (services and administrators); its owner has to log in anew."""
    return await _set_active(user_id, core, caller, True)


def describe(account: Account) -> dict[str, Any]:
    """An account on the wire."""
    return {
        "user_id": account.id,
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "permissions": list(account.permissions),
        "created_at": account.created_at.isoformat(),
        "last_login_at": account.last_login_at.isoformat() if account.last_login_at else None,
        "is_active": account.is_active,
        "is_verified": account.is_verified,
        "auth_provider": account.auth_provider,
    }


async def _set_active(user_id: str, core: Core, caller: Visitor, active: bool) -> dict[str, str]:
    caller.must_be_privileged("Only a service or an administrator may do this.")
    if not await core.logins.set_active(user_id, active):
        raise NotFound("There is no such account.")
    return {"message": f"Account {'enabled' if active else 'disabled'}", "status": "success"}


def _account(principal: Principal) -> Account:
    if principal.account is None:
        raise NotAuthenticated("Invalid token type", reason="invalid_token_type")
    return principal.account


ACCOUNTS = (
    Endpoint(method="POST", path="/auth/register", handler=register),
    Endpoint(method="POST", path="/auth/login", handler=log_in),
    Endpoint(method="POST", path="/auth/dev/login", handler=dev_login),
    Endpoint(method="POST", path="/auth/refresh", handler=refresh),
    Endpoint(method="POST", path="/auth/logout", handler=log_out),
    Endpoint(method="GET", path="/auth/me", handler=me),
    Endpoint(method="GET", path="/auth/users/{user_id}", handler=user),
    Endpoint(method="DELETE", path="/auth/users/{user_id}", handler=delete_user),
    Endpoint(method="POST", path="/auth/users/{user_id}/disable", handler=disable_user),
    Endpoint(method="POST", path="/auth/users/{user_id}/enable", handler=enable_user),
)


async def begin(core: CoreOf, provider: str = DEFAULT) -> RedirectResponse:
    """Send the browser to a provider, with a cookie that binds the login to it."""
    departure = await core.oauth.depart(provider)
    answer = RedirectResponse(departure.url, status_code=302)
    answer.set_cookie(
        departure.cookie_name,
        departure.cookie_value,
        max_age=departure.seconds,
        path="/auth",
        httponly=True,
        samesite="lax",
        secure=core.configuration.environment in ("staging", "production"),
    )
    return answer


async def callback(
    request: Request,
    core: CoreOf,
    caller: CallerOf,
    code: str | None = None,
    state: str | None = None,
    error: str | None = None,
) -> RedirectResponse:
    """Take the browser back: to the front end with tokens in the fragment, which no server and no log sees."""
    if error is not None:
        raise NotAuthenticated("The provider refused the login", reason="provider_refused")
    if not code or not state:
        raise AuthProblem("code and state are required")
    pair = await core.oauth.arrive(code=code, state=state, cookies=request.cookies, caller=caller)
    tokens = {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
    }
    front_end = core.configuration.text("FRONTEND_URL").rstrip("/")
    answer = RedirectResponse(f"{front_end}/auth/callback#{urlencode(tokens)}", status_code=302)
    answer.delete_cookie(cookie_name(state), path="/auth")
    return answer


FEDERATION = (
    Endpoint(method="GET", path="/auth/login", handler=begin),
    Endpoint(method="GET", path="/auth/callback", handler=callback),
    Endpoint(method="GET", path="/auth/oauth/callback", handler=callback),
)


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


INTROSPECTION = (
    Endpoint(method="POST", path="/auth/validate", handler=validate),
    Endpoint(method="POST", path="/auth/validate-token-and-get-user", handler=validate_and_get_user),
    Endpoint(method="GET", path="/auth/verify", handler=verify),
    Endpoint(method="POST", path="/auth/verify", handler=verify),
    Endpoint(method="POST", path="/auth/check-blacklist", handler=check_blacklist),
    Endpoint(method="POST", path="/auth/check-permission", handler=check_permission),
    Endpoint(method="POST", path="/auth/check-authorization", handler=check_authorization),
)


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


SERVICES = (
    Endpoint(method="POST", path="/auth/service-token", handler=service_token),
    Endpoint(method="POST", path="/auth/validate-service-token", handler=validate_service_token),
    Endpoint(method="POST", path="/auth/create-token", handler=create_token),
)


ENDPOINTS: tuple[Endpoint, ...] = (*HEALTH, *ACCOUNTS, *FEDERATION, *INTROSPECTION, *SERVICES)
