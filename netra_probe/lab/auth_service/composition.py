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

from netra_probe.lab.auth_service.accounts import AccountStore
from netra_probe.lab.auth_service.audit import AuditLog
from netra_probe.lab.auth_service.authentication import Authenticator, ServiceCredentials
from netra_probe.lab.auth_service.configuration import VERSION, read_configuration
from netra_probe.lab.auth_service.core import Core
from netra_probe.lab.auth_service.errors import AuthProblem
from netra_probe.lab.auth_service.events import AuthEvents
from netra_probe.lab.auth_service.logins import LoginService
from netra_probe.lab.auth_service.middleware import middleware
from netra_probe.lab.auth_service.oauth import OAuthFlow
from netra_probe.lab.auth_service.oauth_providers import OAuthProviders
from netra_probe.lab.auth_service.openid import OpenIdClient
from netra_probe.lab.auth_service.passwords import PasswordHasher
from netra_probe.lab.auth_service.refusals import answer_problem, answer_surprise, answer_validation
from netra_probe.lab.auth_service.routes import ENDPOINTS
from netra_probe.lab.auth_service.schema import migrate
from netra_probe.lab.auth_service.sessions import Blacklist, SessionStore
from netra_probe.lab.auth_service.stores import Cache, Database
from netra_probe.lab.auth_service.throttle import LoginThrottle
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.faults import Parts, install_faults
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.operator import reload_route, state_route

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
