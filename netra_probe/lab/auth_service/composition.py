"""The composition root: every component and every route handler of the auth service by name, and how they are joined.

A fault replaces entries of `Parts` before anything is built. Components are classes called with keyword arguments as in
`_build`; handlers are functions named ``"POST /auth/login"``; ``"middleware"`` is a function that returns the stack.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_probe.lab.auth_service.accounts import AccountStore
from netra_probe.lab.auth_service.core import VERSION, Core, read_configuration
from netra_probe.lab.auth_service.errors import AuthProblem, answer_problem, answer_surprise, answer_validation
from netra_probe.lab.auth_service.logins import AuthEvents, LoginService, LoginThrottle, PasswordHasher
from netra_probe.lab.auth_service.oauth import OAuthFlow, OAuthProviders, OpenIdClient
from netra_probe.lab.auth_service.routes import ENDPOINTS
from netra_probe.lab.auth_service.sessions import Authenticator, Blacklist, ServiceCredentials, SessionStore
from netra_probe.lab.auth_service.stores import AuditLog, Cache, Database, migrate
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.faults import Parts, install_faults
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.operator_routes import environment_route, reload_route, state_route

LARGEST_BODY = 1_048_576


class NoStore:
    """Answers of an auth service belong to one caller: no cache may keep them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"cache-control", b"no-store")]
            await send(message)

        await self._app(scope, receive, stamped if scope["type"] == "http" else send)


class BodyLimit:
    """413 for bodies that no request of this service needs, judged by what arrives and not by what is announced."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                # FastAPI lets this pass while it reads a body, and turns everything else into 400
                raise HTTPException(413, "Request body too large")
            return message

        await self._app(scope, counted, send)


def middleware(frontend_url: str) -> list[Middleware]:
    """The stack, outermost first."""
    return [
        Middleware(NoStore),
        Middleware(
            CORSMiddleware,
            allow_origins=[frontend_url.rstrip("/")],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            allow_credentials=True,
        ),
        Middleware(BodyLimit),
    ]


COMPONENTS: Mapping[str, Any] = {
    "Database": Database,
    "Cache": Cache,
    "PasswordHasher": PasswordHasher,
    "TokenIssuer": TokenIssuer,
    "TokenVerifier": TokenVerifier,
    "AccountStore": AccountStore,
    "Blacklist": Blacklist,
    "SessionStore": SessionStore,
    "LoginThrottle": LoginThrottle,
    "AuditLog": AuditLog,
    "AuthEvents": AuthEvents,
    "ServiceCredentials": ServiceCredentials,
    "Authenticator": Authenticator,
    "LoginService": LoginService,
    "OAuthProviders": OAuthProviders,
    "OpenIdClient": OpenIdClient,
    "OAuthFlow": OAuthFlow,
    "middleware": middleware,
}

SERVICE = "auth_service"
PROVIDER_SECONDS = 5.0


def healthy_parts() -> Parts:
    """All parts, as they should be."""
    return Parts({**COMPONENTS, **{endpoint.name: endpoint.handler for endpoint in ENDPOINTS}})


def create_app() -> FastAPI:
    """The application, with the faults that the environment selects."""
    live = read_configuration()
    configuration = live.manager
    parts = healthy_parts()
    faults = install_faults(parts, SERVICE)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=PROVIDER_SECONDS, trust_env=False) as client:
            core = _build(parts, configuration, client)
            await core.database.open()
            try:
                async with core.database.connection() as connection:
                    await migrate(connection)
                app.state.core = core
                yield
            finally:
                await core.cache.close()
                await core.database.close()

    app = FastAPI(
        title="Netra auth service",
        version=VERSION,
        lifespan=lifespan,
        middleware=parts["middleware"](configuration.text("FRONTEND_URL")),
    )
    for problem, answer in ((AuthProblem, answer_problem), (Exception, answer_surprise)):
        app.add_exception_handler(problem, answer)
    answer_validation(app)
    for endpoint in ENDPOINTS:
        app.add_api_route(endpoint.path, parts[endpoint.name], methods=[endpoint.method], response_model=None)
    app.router.routes.append(state_route(SERVICE, faults, lambda: {"pool": app.state.core.database.numbers()}))
    app.router.routes.append(reload_route(live))
    app.router.routes.append(environment_route())
    return app


def _build(parts: Parts, configuration: UnifiedConfigurationManager, client: httpx.AsyncClient) -> Core:
    seconds = configuration.number("STORE_SECONDS")
    environment = configuration.environment
    service_id = configuration.text("SERVICE_ID")

    # secrets are asked for each time, so that a rotated one counts at once
    def secret() -> str:
        return configuration.text("JWT_SECRET_KEY")

    def service_secret() -> str:
        return configuration.text("SERVICE_SECRET")

    database = parts["Database"](
        url=configuration.text("DATABASE_URL"), size=configuration.integer("DATABASE_POOL_SIZE"), seconds=seconds
    )
    cache = parts["Cache"](url=configuration.text("REDIS_URL"), seconds=seconds)
    accounts = parts["AccountStore"](database)
    blacklist = parts["Blacklist"](database, cache)
    sessions = parts["SessionStore"](
        database, cache, reuse_grace_seconds=configuration.number("REFRESH_REUSE_GRACE_SECONDS")
    )
    verifier = parts["TokenVerifier"](
        secret=secret,
        environment=environment,
        former_secrets=lambda: configuration.accepted("JWT_SECRET_KEY")[1:],
    )
    issuer = parts["TokenIssuer"](
        secret=secret,
        environment=environment,
        service_id=service_id,
        lifetimes=lambda type_: configuration.integer(f"{type_.upper()}_TOKEN_SECONDS"),
    )
    audit = parts["AuditLog"](database)
    events = parts["AuthEvents"](
        client=client,
        urls=configuration.get("AUTH_EVENT_URLS", ()),
        service_id=service_id,
        service_secret=service_secret,
    )
    logins = parts["LoginService"](
        accounts=accounts,
        passwords=parts["PasswordHasher"](
            time_cost=configuration.integer("PASSWORD_TIME_COST"),
            memory_kib=configuration.integer("PASSWORD_MEMORY_KIB"),
        ),
        issuer=issuer,
        verifier=verifier,
        sessions=sessions,
        blacklist=blacklist,
        throttle=parts["LoginThrottle"](
            cache,
            failures=configuration.integer("LOGIN_MAX_FAILURES"),
            seconds=configuration.integer("LOGIN_WINDOW_SECONDS"),
        ),
        audit=audit,
        events=events,
    )
    providers = parts["OAuthProviders"](
        environment=environment,
        issuer=configuration.get("OIDC_ISSUER_URL"),
        client_secret=configuration.get("OAUTH_CLIENT_SECRET"),
        variables=get_env(),
    )
    return Core(
        configuration=configuration,
        database=database,
        cache=cache,
        accounts=accounts,
        blacklist=blacklist,
        issuer=issuer,
        verifier=verifier,
        authenticator=parts["Authenticator"](
            verifier=verifier, blacklist=blacklist, sessions=sessions, accounts=accounts
        ),
        credentials=parts["ServiceCredentials"](
            service_id=service_id, service_secrets=lambda: configuration.accepted("SERVICE_SECRET")
        ),
        logins=logins,
        providers=providers,
        oauth=parts["OAuthFlow"](
            providers=providers,
            openid=parts["OpenIdClient"](client=client),
            cache=cache,
            accounts=accounts,
            logins=logins,
            audit=audit,
            events=events,
            own_url=configuration.get("AUTH_SERVICE_URL", "http://127.0.0.1:8081"),
            state_seconds=configuration.integer("OAUTH_STATE_SECONDS"),
        ),
    )
