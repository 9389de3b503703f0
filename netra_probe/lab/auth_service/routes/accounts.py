"""Routes of people: register, log in and out, refresh, who am I, leave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from netra_probe.lab.auth_service.accounts import Account
from netra_probe.lab.auth_service.authentication import Principal
from netra_probe.lab.auth_service.core import CallerOf, Core, CoreOf, CurrentUser, PersonOrService, Visitor
from netra_probe.lab.auth_service.errors import BadInput, Forbidden, NotAuthenticated, NotFound
from netra_probe.lab.auth_service.routes.endpoint import Endpoint

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


ENDPOINTS = (
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
