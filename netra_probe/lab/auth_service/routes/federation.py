"""Routes of an OAuth login: to the provider and back."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse

from netra_probe.lab.auth_service.core import CallerOf, CoreOf
from netra_probe.lab.auth_service.errors import AuthProblem, NotAuthenticated
from netra_probe.lab.auth_service.oauth import cookie_name
from netra_probe.lab.auth_service.oauth_providers import DEFAULT
from netra_probe.lab.auth_service.routes.endpoint import Endpoint


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


ENDPOINTS = (
    Endpoint(method="GET", path="/auth/login", handler=begin),
    Endpoint(method="GET", path="/auth/callback", handler=callback),
    Endpoint(method="GET", path="/auth/oauth/callback", handler=callback),
)
