"""What a route handler works with: the assembled components of one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from netra_probe.lab.auth_service.accounts import AccountStore
from netra_probe.lab.auth_service.authentication import Authenticator, Principal, ServiceCredentials
from netra_probe.lab.auth_service.errors import Forbidden, NotAuthenticated
from netra_probe.lab.auth_service.logins import Caller, LoginService
from netra_probe.lab.auth_service.oauth import OAuthFlow
from netra_probe.lab.auth_service.oauth_providers import OAuthProviders
from netra_probe.lab.auth_service.sessions import Blacklist
from netra_probe.lab.auth_service.stores import Cache, Database
from netra_probe.lab.auth_service.tokens import TokenIssuer, TokenVerifier
from netra_probe.lab.shared.configuration import UnifiedConfigurationManager


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
