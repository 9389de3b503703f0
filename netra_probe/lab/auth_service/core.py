"""The settings and the assembled auth service, as routes see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from netra_probe.lab.auth_service.accounts import AccountStore
from netra_probe.lab.auth_service.errors import Forbidden, NotAuthenticated
from netra_probe.lab.auth_service.logins import Caller, LoginService
from netra_probe.lab.auth_service.oauth import OAuthFlow, OAuthProviders
from netra_probe.lab.auth_service.sessions import Authenticator, Blacklist, Principal, ServiceCredentials
from netra_probe.lab.auth_service.stores import Cache, Database
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager
from netra_probe.lab.shared.live_configuration import SECRET_OVERLAP, LiveConfiguration
from netra_probe.lab.shared.settings import Setting

VERSION = "1.0.0"
SERVICE = "auth-service"
MINUTE, DAY = 60, 86_400

SETTINGS = (
    Setting(name="DATABASE_URL", kind="url", schemes=("postgresql", "postgres"), secret=True, required=True),
    Setting(name="REDIS_URL", kind="url", schemes=("redis", "rediss"), secret=True, required=True),
    Setting(
        name="JWT_SECRET_KEY",
        aliases=("JWT_SECRET_{ENV}",),
        secret=True,
        required=True,
        minimum=32,
        overlap=SECRET_OVERLAP,
    ),
    Setting(name="SERVICE_ID", required=True, shared=True),
    Setting(name="SERVICE_SECRET", secret=True, required=True, minimum=16, overlap=SECRET_OVERLAP),
    Setting(name="FRONTEND_URL", kind="url", schemes=("http", "https"), required=True, shared=True),
    # Tokens: seconds
    Setting(
        name="ACCESS_TOKEN_SECONDS",
        kind="int",
        minimum=1,
        default={"production": 15 * MINUTE, "staging": 30 * MINUTE, "development": 120 * MINUTE, "test": 5 * MINUTE},
    ),
    Setting(
        name="REFRESH_TOKEN_SECONDS",
        kind="int",
        minimum=1,
        default={"production": 7 * DAY, "staging": 14 * DAY, "development": 30 * DAY, "test": DAY},
    ),
    Setting(name="SERVICE_TOKEN_SECONDS", kind="int", minimum=1, default=5 * MINUTE),
    Setting(name="REFRESH_REUSE_GRACE_SECONDS", kind="float", minimum=0, default=2.0),
    # Passwords (argon2id)
    Setting(name="PASSWORD_TIME_COST", kind="int", minimum=1, default={"test": 1, "*": 3}),
    Setting(name="PASSWORD_MEMORY_KIB", kind="int", minimum=1024, default={"test": 2048, "*": 65536}),
    # Brute force
    Setting(name="LOGIN_MAX_FAILURES", kind="int", minimum=1, default=10),
    Setting(name="LOGIN_WINDOW_SECONDS", kind="int", minimum=1, default=60),
    # Development
    Setting(name="AUTH_DEV_LOGIN", kind="flag", default=False),
    # OAuth
    Setting(name="AUTH_SERVICE_URL", kind="url", schemes=("http", "https")),
    Setting(name="OIDC_ISSUER_URL", kind="url", schemes=("http", "https")),
    Setting(name="OAUTH_CLIENT_SECRET", secret=True),
    Setting(name="OAUTH_STATE_SECONDS", kind="int", minimum=1, default=600),
    # Telling the backend about sign-ins and sign-outs
    Setting(name="AUTH_EVENT_URLS", kind="list"),
    # Stores
    Setting(name="DATABASE_POOL_SIZE", kind="int", minimum=1, maximum=50, default=8),
    Setting(name="STORE_SECONDS", kind="float", minimum=0.1, default=3.0),
)


def read_configuration() -> LiveConfiguration:
    """The validated configuration; ConfigurationProblem lists everything that is wrong with it."""
    return LiveConfiguration("auth_service", SETTINGS)


@dataclass(frozen=True, kw_only=True)
class Core:
    """All components, by role."""

    configuration: UnifiedConfigurationManager
    database: Database
    cache: Cache
    accounts: AccountStore
    blacklist: Blacklist
    issuer: TokenIssuer
    verifier: TokenVerifier
    authenticator: Authenticator
    credentials: ServiceCredentials
    logins: LoginService
    providers: OAuthProviders
    oauth: OAuthFlow


async def core_of(connection: HTTPConnection) -> Core:
    """The components behind a request."""
    return cast(Core, connection.app.state.core)


async def bearer_token(connection: HTTPConnection) -> str:
    """The bearer token of a request."""
    values = connection.headers.getlist("authorization")
    if not values:
        raise NotAuthenticated("Not authenticated", reason="no_token")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Not authenticated", reason="invalid_token")
    return token.strip()


async def service_caller(connection: HTTPConnection, core: Annotated[Core, Depends(core_of)]) -> bool:
    """True for the right service headers, False for none; wrong ones are refused whatever the route."""
    service_id = connection.headers.get("x-service-id")
    service_secret = connection.headers.get("x-service-secret")
    if service_id is None and service_secret is None:
        return False
    if not core.credentials.match(service_id, service_secret):
        raise NotAuthenticated("Invalid service credentials", reason="invalid_service_credentials")
    return True


async def caller_of(connection: HTTPConnection, is_service: Annotated[bool, Depends(service_caller)]) -> Caller:
    """Where a request comes from. A forwarded address is believed of a service that proves itself, of nobody else."""
    address = connection.client.host if connection.client else ""
    if is_service:
        address = _printable(connection.headers.get("x-client-address", "")[:64]) or address
    return Caller(address=address, user_agent=_printable(connection.headers.get("user-agent", "")[:200]))


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


CoreOf = Annotated[Core, Depends(core_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
BearerToken = Annotated[str, Depends(bearer_token)]
IsService = Annotated[bool, Depends(service_caller)]


async def current_principal(core: CoreOf, token: BearerToken) -> Principal:
    """The user behind the bearer token."""
    return await core.authenticator.authenticate(token)


async def service_only(is_service: IsService) -> None:
    """Refuse everybody but a service with its credentials."""
    if not is_service:
        raise Forbidden("Service credentials are required.")


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Whoever asks: a user with a token, a service with its credentials, or a service acting for a user."""

    principal: Principal | None
    is_service: bool

    def must_be_privileged(self, refusal: str) -> None:
        """Forbidden for everybody but services and administrators."""
        if not self.is_service and (self.principal is None or "admin" not in self.principal.permissions):
            raise Forbidden(refusal)


async def visitor(connection: HTTPConnection, core: CoreOf, is_service: IsService) -> Visitor:
    """The caller of a route that people and services use; neither is refused with 401."""
    principal = None
    if not is_service or "authorization" in connection.headers:
        principal = await core.authenticator.authenticate(await bearer_token(connection))
    return Visitor(principal=principal, is_service=is_service)


CurrentUser = Annotated[Principal, Depends(current_principal)]
PersonOrService = Annotated[Visitor, Depends(visitor)]
ServiceOnly = Annotated[None, Depends(service_only)]
